"""Measurements of the product: each file a benchmark, each benchmark a command, `python -m benchmarks NAME`.

A benchmark is a module with `measure(arguments) -> Result`, and `add_arguments(parser)` where it has arguments of its own; the runner
(`__main__`) adds those that all share. `timing` lets systems take turns, `systems` and `peers` hold what is timed, `results` is what a
benchmark gives: JSON, tables and plots. `targets` and `page` read such files and measure nothing.
"""
