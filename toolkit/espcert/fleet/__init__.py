"""Many images: find them, work on them in parallel, keep a journal, report.

`sources` lists the images, `journal` keeps the plan and a record of each image on disk, `workers`
run `work.run_batch` in processes, `engine` feeds them, `across` compares the modules with each
other, and `reports` writes what came of it. One image is worked on by the library's own detect,
verify and migrate; nothing of them is repeated here.
"""
