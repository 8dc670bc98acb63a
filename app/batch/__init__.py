"""Whole slides and cohorts, as `marrowscope batch` analyses them; needs the optional packages of the extra `batch`.

The rooms follow the way of a slide, and each imports only from those before it:
`read` opens slides, `plan` decides what of a slide is analysed, `analyse` finds and counts its cells, `space` measures
where they lie, `write` writes the results, and `run` distributes all of that over processes and machines.
`folder` and `summary` hold what the rooms share: the files of a batch on disk, and the summary of a slide.
"""
