# Runs Autobahn's cases against a server that echoes, and judges them. For the Python 2.7 that they are written for.
#
#   python2.7 autobahn_cases.py URL FOLDER CASE...
import json, os, sys

url, folder, cases = sys.argv[1], sys.argv[2], sys.argv[3:]
good = ("OK", "INFORMATIONAL")
# The codec reads a frame to its end before it looks at its text: what is no UTF-8 ends the connection then and not in the middle
# of the frame, which the standard leaves open. Between the fragments of a message it is found at once.
late = ("6.4.3", "6.4.4")
# Some cases give a server one second, which a busy machine may not have. What is wrong is wrong each time.
rounds = 3


def run(cases):
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
    if os.waitpid(pid, 0)[1] != 0:
        sys.exit("the suite broke off")
    with open(os.path.join(folder, "index.json")) as report:
        return json.load(report).get("host", {})


def is_good(case, one):
    return one["behaviorClose"] in good and (one["behavior"] in good or case in late and one["behavior"] == "NON-STRICT")


results, wanted = {}, cases
for _ in range(rounds):
    results.update(run(wanted))
    bad = [case for case in results if not is_good(case, results[case])]
    bad.sort(key=lambda case: [int(part) for part in case.split(".")])
    for case in bad:
        one = results[case]
        print "%s: %s, close %s (%s)" % (case, one["behavior"], one["behaviorClose"], one["remoteCloseCode"])
    if not bad:
        break
    wanted = bad
print "%d passed, %d failed" % (len(results) - len(bad), len(bad))
sys.exit(0 if results and not bad else 1)
