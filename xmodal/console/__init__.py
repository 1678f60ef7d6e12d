"""What a person sees. The only part of the package that imports rich."""

from xmodal.console.papers import show_against, show_table, show_table_preview
from xmodal.console.runs import RunView, show_results
from xmodal.console.streams import give_up, in_notebook, say, show_error, write
from xmodal.console.studies import show_preview, show_study
from xmodal.console.tables import show_plan, show_rows

__all__ = [
    "RunView",
    "give_up",
    "in_notebook",
    "say",
    "show_against",
    "show_error",
    "show_plan",
    "show_preview",
    "show_results",
    "show_rows",
    "show_study",
    "show_table",
    "show_table_preview",
    "write",
]
