"""What is not sent: addresses beyond what HTTP lets through. They are answered with HTTP's own 431, which has no body."""

from urllib.parse import quote, urlencode

import schemathesis

ADDRESS_BYTES_MAX = 6_000


@schemathesis.hook
def filter_case(context, case):
    values = "".join(quote(str(value)) for value in (case.path_parameters or {}).values())
    query = urlencode(case.query or {}, doseq=True)
    return len(case.path) + len(values) + len(query) <= ADDRESS_BYTES_MAX
