"""`python -m benchmarks`: run every measurement. `--quick` shortens what can be shortened."""

import sys

from . import admission, event_loop, ledger

if __name__ == "__main__":
    quick = sys.argv[1:]
    admission.main(quick)
    ledger.main([word for word in quick if word == "--quick"])
    sys.argv[1:] = []
    event_loop.main()
