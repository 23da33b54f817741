"""The report: what replays found, as one HTML file and as pictures.

`files` reads results and writes the report, `page` puts it together, `verdict` says in words what the figures mean,
`comparing` holds what a difference between two runs is, and `charts_*` draw.
"""
