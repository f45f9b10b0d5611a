# SPDX-License-Identifier: GPL-2.0-or-later
#
# Counts checks in meson's testlog.json: a TAP test has one for each of its lines, any other test is
# one itself. A test that failed without a line that says so (it died, or ran out of time) counts as
# one failure more.

def lines: (.stdout // "") | split("\n");
def passes: [lines[] | select(test("^ok ") and (test("# SKIP") | not))] | length;
def fails: [lines[] | select(test("^not ok "))] | length;
def skips: [lines[] | select(test("^ok .*# SKIP"))] | length;
def good: .result == "OK" or .result == "EXPECTEDFAIL" or .result == "SKIP";

map({
	name,
	good: good,
	passed: (if passes + fails + skips > 0 then passes elif .result == "OK" then 1 else 0 end),
	failed: (if fails > 0 then fails elif good then 0 else 1 end),
	skipped: (if .result == "SKIP" then ([skips, 1] | max) else skips end)
})
| { passed: (map(.passed) | add // 0), failed: (map(.failed) | add // 0),
    skipped: (map(.skipped) | add // 0), bad: map(select(.good | not) | .name) }
