"""Claims against a reference model: seeded random steps over few keys, two payloads, three retentions. The sweep, releases, other
settings of a scope and the passing of time are operations; so is a step in a transaction of its own that stays open and ends either way."""
import os
import random
import time
import uuid

import pytest

STEPS = int(os.environ.get("CLAIM_MODEL_STEPS", "100000"))
SEED = int(os.environ.get("CLAIM_MODEL_SEED", "5"))
MINUTE = 60.0
PAYLOADS = ['{"amount": 1, "to": "a"}', '{"to": "b", "amount": 1}']
DIFFERS = ["to"]
NO_ANSWER = (None, None, None)
SCOPES = {
    # lease, total, keep, keep_failed, max_attempts, other request allowed
    "strict": (1 * MINUTE, 30 * MINUTE, 60 * MINUTE, 10 * MINUTE, 3, False),
    "lenient": (5 * MINUTE, 20 * MINUTE, 10 * MINUTE, 60 * MINUTE, 0, True),
    "undeclared": (1 * MINUTE, 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE, 7 * 24 * 60 * MINUTE, 0, False),
}
UNDECLARED = SCOPES["undeclared"]


class Claim:
    """What is known of a key; times are seconds of the server's clock."""

    def __init__(self, request):
        self.request, self.attempt, self.checkpoint = request, 0, None
        self.token = self.claimed = self.lease_until = self.settled = self.own_keep = self.answer = None
        self.state = "claimed"

    def copy(self):
        twin = Claim(self.request)
        twin.__dict__.update(self.__dict__)
        return twin

    def expires(self, scope):
        _, _, keep, keep_failed, _, _ = SCOPES[scope]
        if self.state == "claimed":
            return self.lease_until + keep
        if self.state == "failed":
            return self.settled + keep_failed
        if self.state == "completed" and self.own_keep is not None:
            return self.settled + min(keep, self.own_keep)
        return self.settled + keep


class Model:
    def __init__(self):
        self.claims = {}

    def live(self, key, now):
        claim = self.claims.get(key)
        return claim if claim and claim.expires(key[0]) > now else None

    def claim(self, key, request, lease, now):
        """→ (verdict, attempt, checkpoint, answer, differs); a taken claim's token is given by the server."""
        default, _, _, _, max_attempts, lenient = SCOPES[key[0]]
        claim = self.live(key, now)
        if claim is None:
            return self.take(key, "new", Claim(request), lease or default, now)
        lapsed = claim.state == "claimed" and claim.lease_until <= now
        free = lapsed or claim.state == "released"
        if claim.request != request and not (free and lenient):
            return "mismatch", None, None, NO_ANSWER, DIFFERS
        if claim.state == "completed":
            return "replay", claim.attempt, None, claim.answer, None
        if claim.state == "failed":
            return "failed", claim.attempt, None, claim.answer, None
        if not free:
            return "in_progress", claim.attempt, None, NO_ANSWER, None
        if claim.request != request:
            return self.take(key, "new" if claim.state == "released" else "reclaimed", Claim(request), lease or default, now)
        if max_attempts and claim.attempt >= max_attempts:
            return "exhausted", claim.attempt, None, NO_ANSWER, None
        return self.take(key, "new" if claim.state == "released" else "reclaimed", claim.copy(), lease or default, now)

    def take(self, key, verdict, claim, lease, now):
        claim.state, claim.attempt, claim.claimed, claim.lease_until = "claimed", claim.attempt + 1, now, now + lease
        claim.answer = claim.settled = claim.own_keep = None
        self.claims[key] = claim
        return verdict, claim.attempt, claim.checkpoint, NO_ANSWER, None

    def settle(self, act, key, token, argument, now):
        claim = self.live(key, now)
        if claim is None:
            return "missing"
        if claim.token != token:
            return "fenced"
        if claim.state == "released":
            return "missing"
        if claim.state in ("completed", "failed"):
            if act in ("complete", "fail"):
                same = (act == "complete") == (claim.state == "completed") and claim.answer == self.answer_of(act, argument)
                return "already" if same else "mismatch"
            return "already"
        total = SCOPES[key[0]][1]
        if act == "renew" and claim.claimed + total <= now:
            return "fenced"
        claim = self.claims[key] = claim.copy()
        if act == "renew":
            claim.lease_until = min(now + argument, claim.claimed + total)
        elif act == "checkpoint":
            claim.checkpoint = argument
        else:
            claim.state, claim.settled = {"complete": "completed", "fail": "failed", "release": "released"}[act], now
            if act != "release":
                claim.answer, claim.checkpoint = self.answer_of(act, argument), None
            if act == "complete":
                claim.own_keep = argument[1]
        return "ok"

    @staticmethod
    def answer_of(act, argument):
        return (argument[0], {"n": argument[0]}, None) if act == "complete" else (argument, None, {"n": argument})


class Run:
    def __init__(self, database, seed):
        self.random = random.Random(seed)
        self.database = database
        self.main = database.connect().cursor()
        self.side = database.connect(autocommit=False).cursor()
        self.model = Model()
        self.tokens = {}
        self.open = None  # (key, what the model was before) of the open transaction
        self.keys = [(scope, f"k{i}") for scope in SCOPES for i in range(5)]
        self.seen = {}
        for scope, (lease, total, keep, failed, attempts, lenient) in SCOPES.items():
            if scope != "undeclared":
                self.main.execute("SELECT once.scope_set(%s, make_interval(secs => %s), make_interval(secs => %s), make_interval(secs => %s), make_interval(secs => %s), %s, %s)",
                                  (scope, lease, total, keep, failed, attempts, "allow" if lenient else "refuse"))
        self.main.execute("SELECT string_agg(format('UPDATE %s SET claimed_at = claimed_at - d, lease_until = lease_until - d, settled_at = settled_at - d', oid::regclass), ';') "
                          "FROM pg_class WHERE relnamespace = 'once'::regnamespace AND relkind = 'r' AND relname ~ '^claim_[a-z]+_[0-3]$'")
        body = self.main.fetchone()[0]
        self.main.execute(f"""CREATE PROCEDURE pass(d interval) LANGUAGE plpgsql AS $$ BEGIN {body};
            UPDATE once.ring SET opened_at = opened_at - d, open_for = open_for + d, closed_at = ARRAY(SELECT c - d FROM unnest(closed_at) c),
                closed_for = ARRAY(SELECT c + d FROM unnest(closed_for) c); END $$""")

    @staticmethod
    def now():
        return time.time()  # the server's clock: it runs on this machine

    def pass_time(self, seconds):
        self.main.execute("CALL pass(make_interval(secs => %s))", (seconds,))
        for claim in {id(claim): claim for claim in self.model.claims.values()}.values():
            for name in ("claimed", "lease_until", "settled"):
                if getattr(claim, name) is not None:
                    setattr(claim, name, getattr(claim, name) - seconds)

    def clear_of_boundaries(self, key, now):
        """A time so close that the two clocks could differ about it: let it pass."""
        claim = self.model.claims.get(key)
        if claim is None or self.open:
            return now
        times = [claim.expires(key[0]), claim.lease_until, claim.claimed + SCOPES[key[0]][1]]
        while any(abs(time - now) < 1 for time in times):
            self.pass_time(3)
            times = [claim.expires(key[0]), claim.lease_until, claim.claimed + SCOPES[key[0]][1]]
        return now

    def step(self):
        choice = self.random.random()
        if self.open:
            if choice < 0.3:
                return self.end_transaction()
        elif choice < 0.02:
            return self.pass_time(self.random.choice([20, 50, 90, 300, 700, 1900, 4000, 90000, 700000]))
        elif choice < 0.04:
            return self.sweep()
        elif choice < 0.05:
            return self.other_settings()
        elif choice < 0.08:
            key = self.random.choice(self.keys)
            before = self.model.claims.get(key)
            self.act(self.side, key)
            self.open = (key, before)
            return None
        elif choice < 0.09:
            return self.sweep()
        if self.open and choice > 0.97:
            return self.sweep()  # beside an open transaction
        return self.act(self.main, self.random.choice([key for key in self.keys if not self.open or key != self.open[0]]))

    def sweep(self):
        if self.random.random() < 0.3:
            self.main.execute("SELECT once.ring_turn(%s)", (self.random.choice(["claim_day", "claim_week", "claim_month", "claim_quarter", "claim_year"]),))
        while True:
            self.main.execute("SELECT step FROM once.sweep()")
            steps = self.main.fetchall()
            if not steps:
                break
            self.seen[steps[0][0]] = self.seen.get(steps[0][0], 0) + 1

    def other_settings(self):
        """In flight. Not the keeps: what has expired is known again, or not, by whether the sweep was there in between."""
        scope = self.random.choice(list(SCOPES))
        _, _, keep, failed, _, _ = SCOPES[scope]
        if scope == "undeclared" and self.random.random() < 0.5:
            SCOPES[scope] = UNDECLARED
            self.main.execute("SELECT once.scope_drop(%s)", (scope,))
            return
        # a longer total_lease is another class
        lease, total = self.random.choice([30.0, MINUTE, 5 * MINUTE]), self.random.choice([10, 20, 30, 2000, 12000, 60000, 300000]) * MINUTE
        attempts, lenient = self.random.choice([0, 1, 3]), self.random.random() < 0.5
        SCOPES[scope] = (lease, total, keep, failed, attempts, lenient)
        self.main.execute("SELECT once.scope_set(%s, make_interval(secs => %s), make_interval(secs => %s), max_attempts => %s, on_mismatch => %s)",
                          (scope, lease, total, attempts, "allow" if lenient else "refuse"))

    def end_transaction(self):
        key, before = self.open
        if self.random.random() < 0.5:
            self.side.connection.commit()
        else:
            self.side.connection.rollback()
            if before is None:
                self.model.claims.pop(key, None)
            else:
                self.model.claims[key] = before
        self.open = None

    def act(self, cursor, key):
        now = self.clear_of_boundaries(key, self.now())
        if self.random.random() < 0.5:
            self.claim(cursor, key, now)
        else:
            self.settle(cursor, key, now)

    def claim(self, cursor, key, now):
        request = self.random.choice([0, 0, 0, 1])
        lease = self.random.choice([None, None, 30.0, 600.0])
        expected = self.model.claim(key, request, lease, now)
        spelled = PAYLOADS[request] if self.random.random() < 0.5 else PAYLOADS[request].replace("1", "1.0", 1).replace(", ", ",\n")
        cursor.execute("SELECT verdict, token, attempt, checkpoint, status, response, error, differs FROM once.claim(%s, %s, %s::jsonb, make_interval(secs => %s))",
                       (*key, spelled, lease))
        verdict, token, attempt, checkpoint, status, response, error, differs = cursor.fetchone()
        assert (verdict, attempt, checkpoint, (status, response, error), differs) == expected, (key, request, lease)
        assert (token is not None) == (verdict in ("new", "reclaimed"))
        if token:
            self.model.claims[key].token = token
            self.tokens.setdefault(key, []).append(token)
            del self.tokens[key][:-3]
        self.seen[verdict] = self.seen.get(verdict, 0) + 1

    def settle(self, cursor, key, now):
        act = self.random.choice(["complete", "complete", "fail", "release", "release", "renew", "checkpoint"])
        token = self.random.choice((self.tokens.get(key) or []) * 3 + [str(uuid.UUID(int=self.random.getrandbits(128)))])
        number = self.random.choice([200, 201])
        if act == "complete":
            keep = self.random.choice([None, None, 5 * MINUTE, 5000 * MINUTE])
            argument, rest, values = (number, keep), ", %s::jsonb, %s, NULL, make_interval(secs => %s)", (f'{{"n": {number}}}', number, keep)
        elif act == "fail":
            argument, rest, values = number, ", %s::jsonb, %s", (f'{{"n": {number}}}', number)
        elif act == "renew":
            argument = self.random.choice([30.0, 900.0, 100000 * MINUTE])
            rest, values = ", make_interval(secs => %s)", (argument,)
        elif act == "checkpoint":
            argument = self.random.choice([None, 1, 2])
            rest, values = ", %s::jsonb", (None if argument is None else str(argument),)
        else:
            argument, rest, values = None, "", ()
        expected = self.model.settle(act, key, token, argument, now)
        cursor.execute(f"SELECT once.try_{act}(%s, %s, %s{rest})", (*key, token, *values))
        assert cursor.fetchone()[0] == expected, (act, key, argument)
        self.seen[f"{act} {expected}"] = self.seen.get(f"{act} {expected}", 0) + 1


@pytest.fixture
def database(cluster, world_name):
    made = cluster.create_database(world_name)
    yield made
    made.drop()


@pytest.mark.long
def test_B_C_D_claims_against_the_model(database):
    run = Run(database, SEED)
    for number in range(STEPS):
        try:
            run.step()
        except AssertionError as error:
            raise AssertionError(f"seed {SEED}, step {number}: {error}") from None
    if run.open:
        run.end_transaction()
    print(f"seed {SEED}, {STEPS} steps:", sorted(run.seen.items()))
    wanted = {"new", "reclaimed", "in_progress", "replay", "mismatch", "failed", "exhausted", "truncated", "read_only", "complete ok", "complete already", "complete mismatch",
              "complete fenced", "complete missing", "release ok", "release already", "renew ok", "renew fenced", "checkpoint ok", "fail ok", "fail mismatch"}
    assert STEPS < 20000 or not wanted - {name for name, count in run.seen.items() if count}
