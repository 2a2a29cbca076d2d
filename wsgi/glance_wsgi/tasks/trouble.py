"""Whose fault an error is: whether what failed is worth another try."""


def is_of_database(error: BaseException | None) -> bool:
    """Whether the database is to blame, so that it may work another time.

    It is not to blame for what it says of the data: that will be so again.
    """
    from oslo_db import exception
    from sqlalchemy import exc

    of_data = (
        *(exception.DBDataError, exception.DBDuplicateEntry),
        *(exception.DBConstraintError, exception.DBReferenceError),
        *(exc.DataError, exc.IntegrityError),
    )
    while error is not None:
        if isinstance(error, of_data):
            return False
        if isinstance(error, exception.DBError | exc.SQLAlchemyError):
            return True
        error = error.__cause__ or error.__context__
    return False
