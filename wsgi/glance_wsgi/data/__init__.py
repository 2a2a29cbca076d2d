"""The path of image bytes."""
