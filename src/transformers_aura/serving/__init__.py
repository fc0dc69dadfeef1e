"""Students where people serve: engines with an HTTP interface, and a page in the browser."""
