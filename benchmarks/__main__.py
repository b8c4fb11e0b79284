"""`python -m benchmarks`: run every measurement; arguments go to each."""

from . import admission

if __name__ == "__main__":
    admission.main()
