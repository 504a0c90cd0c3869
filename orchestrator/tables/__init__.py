"""Tables in: rows of CSV, TSV, JSON, Parquet, text files and folders become requests by a template.

Owns what a table may be, how its rows are read, and what makes the params of a request out of a row. A row is kept
with its request, as JSON. Must not store anything. Reads in a worker thread, a row at a time.
"""

from orchestrator.domain.table_spec import Recipe, TableKind
from orchestrator.tables.first_look import FirstLook, look_at
from orchestrator.tables.kinds import TableInput, foreign_form, holds_rows, open_rows, told_kind
from orchestrator.tables.object_rows import ObjectRows
from orchestrator.tables.row_requests import RowRequests
from orchestrator.tables.row_source import RowSource
from orchestrator.tables.uploads import ArrivingRows, UploadedTable

__all__ = [
    "ArrivingRows",
    "FirstLook",
    "ObjectRows",
    "Recipe",
    "RowRequests",
    "RowSource",
    "TableInput",
    "TableKind",
    "UploadedTable",
    "foreign_form",
    "holds_rows",
    "look_at",
    "open_rows",
    "told_kind",
]
