UPDATE images SET visibility = CASE
    WHEN is_public THEN 'public'
    WHEN EXISTS (
        SELECT 1 FROM image_members
        WHERE image_members.image_id = images.id
        AND NOT image_members.deleted
    ) THEN 'shared'
    ELSE 'private'
END
WHERE visibility IS NULL;
