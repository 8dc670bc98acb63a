"""The study: what `python -m training evaluate` measures on public data, and the report on it.

`protocols` says how each measurement is made, `systems` and `baselines` what is compared, `metrics` how it is scored;
`figures` and `report` show the results.
"""
