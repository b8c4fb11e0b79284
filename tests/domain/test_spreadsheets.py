"""CSV that no spreadsheet takes for formulas, and that keeps every decimal."""

import csv
import io
from decimal import Decimal

from jhub_usage.domain.spreadsheets import csv_text


def test_rows():
    text = csv_text(["who", "n", "hours"], [["ada", 3, Decimal("0.000001")], [None, -1, 'a,"b"']])
    assert text == 'who,n,hours\r\nada,3,0.000001\r\n,-1,"a,""b"""\r\n'


def test_text_that_would_compute_is_quoted_and_numbers_are_not():
    words = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "plain", "a=b", ""]
    (row,) = csv.reader(io.StringIO(csv_text(words, []), newline=""))
    assert row == words, "heads are ours"
    _, row = csv.reader(io.StringIO(csv_text(["x"], [words]), newline=""))
    assert row == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "'\rx", "plain", "a=b", ""]
    _, row = csv.reader(io.StringIO(csv_text(["x"], [[-5, Decimal("-1.50"), Decimal("1E+3")]])))
    assert row == ["-5", "-1.50", "1000"]
