# Runs Autobahn's cases against a server that echoes, and judges them. For the Python 2.7 that they are written for.
#
#   python2.7 autobahn_cases.py URL FOLDER CASE...
import json, os, sys

url, folder, cases = sys.argv[1], sys.argv[2], sys.argv[3:]
spec = os.path.join(folder, "spec.json")
with open(spec, "w") as out:
    json.dump({
        "outdir": folder, "cases": cases, "exclude-cases": [], "exclude-agent-cases": {}, "options": {"failByDrop": False},
        "servers": [{"agent": "host", "url": url, "options": {"version": 18}}],
    }, out)

pid = os.fork()
if pid == 0:
    sys.argv = ["wstest", "--mode", "fuzzingclient", "--spec", spec]
    from autobahntestsuite import wstest
    wstest.run()
    os._exit(0)
ended = os.waitpid(pid, 0)[1]

with open(os.path.join(folder, "index.json")) as report:
    results = json.load(report).get("host", {})
good = ("OK", "INFORMATIONAL")
# The codec reads a frame to its end before it looks at its text: what is no UTF-8 ends the connection then and not in the middle
# of the frame, which the standard leaves open. Between the fragments of a message it is found at once.
late = ("6.4.3", "6.4.4")


def is_good(case, one):
    return one["behaviorClose"] in good and (one["behavior"] in good or case in late and one["behavior"] == "NON-STRICT")


bad = {case: one for case, one in results.items() if not is_good(case, one)}
for case in sorted(bad, key=lambda case: [int(part) for part in case.split(".")]):
    print "%s: %s, close %s (%s)" % (case, bad[case]["behavior"], bad[case]["behaviorClose"], bad[case]["remoteCloseCode"])
print "%d passed, %d failed" % (len(results) - len(bad), len(bad))
sys.exit(0 if results and not bad and ended == 0 else 1)
