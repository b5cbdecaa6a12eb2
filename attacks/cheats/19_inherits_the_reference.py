# task: softmax_rows.py
# class: A15
# mechanism: derives from the reference's class, which it hopes to find in its namespace, and adds
#   nothing
# expect: rejected rules, build, crash


class ModelNew(Model):  # noqa: F821
    pass
