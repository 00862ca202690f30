"""The report page: one HTML file with summary, tables, plots and a timeline of every instruction.

Python writes the tables and plots as plain HTML and packs the timeline (``pack.py``); the scripts beside it sort the
tables, unpack the timeline and draw it. ``docs/page.md`` describes it.
"""

from accelsim.page.document import page, save_page
from accelsim.page.run import Run

__all__ = ["Run", "page", "save_page"]
