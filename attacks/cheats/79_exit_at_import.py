# task: softmax_rows.py
# class: D63
# mechanism: leaves with a success while it is imported
# expect: rejected crash, build, rules

import sys

sys.exit(0)
