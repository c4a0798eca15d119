"""Wire resistance of crossbars, for plain arrays of conductances.

`effective` is the public function (also importable as ``analogpc.kernels.parasitics``); the other modules are its solvers.
A new solver is one new module here, tested against `effective` and against ngspice.
"""
