"""Eight trained nets with a hundred fixed inputs each, on which the quadratures are compared.

Run as modules from the repository root with the `benchmarks` extra installed:
`python -m benchmarks.quadrature_nets.train`, `.choose_inputs`, `.check` and `.reference`.
"""
