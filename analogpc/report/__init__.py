"""Tables, figures and pages about runs, sweeps and devices."""
