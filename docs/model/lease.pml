/*
 * Lease hand-over: one worker, two jobs with a caller each, one seat with a dispatcher and its successors, the pool-keeper.
 *
 * What is checked, under every interleaving of FAULTS faults (see README.md beside this file):
 *   exclusive        no first byte reaches the worker while it is at another job
 *   no lost ticket   a caller whose descriptor was in escrow when its dispatcher's turn ended is never cut, and never told that its job is
 *                    lost; and when nothing more can happen, every caller has its answer or has left, and nothing is still leased or queued
 *
 * There is no clock: a time-out may fire at any moment at which it can fire at all. The two assumptions about time are named where they are
 * made: `quiet` (a worker notices that nobody holds its connection within the time that it is set aside) and STOP (what lets adopt-within end
 * before a successor has asserted, or a successor start beside its predecessor, is that somebody was stopped).
 *
 * Mutations, each of which must be found: GRANT_EARLY, RELEASE_ON_LEAVE, ADOPT_STOPPED, RELEASE_BEFORE_CUT, FORGET_TICKETS. With
 * EXCLUSIVE_ONLY nothing but `exclusive` is asserted. WITNESS asserts what must not hold: that no job is ever finished by the second
 * successor of the dispatcher that began it.
 */

#ifndef FAULTS
#define FAULTS 2
#endif
#define JOBS 2
#define SEATED 3 /* instances in the seat, one after the other */
#define TOKENS 8

/* Who holds a descriptor of a connection: bit d is instance d, bit 3+d a packet on its way to instance d. */
#define HAS(d) (1 << (d))
#define TO(d) (8 << (d))
#define ESCROW 64
#define UP 128 /* a packet on its way to the pool-keeper */

/* A caller: waits, or how its connection ended. */
#define NEW 0
#define HERE 1
#define ANSWERED 2
#define LEFT 3
#define FAILED 4 /* told honestly that its worker is lost */
#define CUT 5

/* A job at its dispatcher, which is also what the records in the memfd say. */
#define NONE 0
#define PARKED 1
#define GRANTED 2
#define DIALED 3  /* connected, in escrow if the pool-keeper is there; no byte has reached the worker */
#define SENT 4    /* bytes have */
#define ENDING 5  /* and the caller has left, the worker is still at it */
#define DONE 6    /* answered; not yet released */
#define LATE 7    /* RELEASE_BEFORE_CUT: released, not yet cut */

/* Dispatcher to pool-keeper: (kind, job, token). */
#define TICKET 1
#define CANCEL 2
#define UNUSED 3
#define RELEASE 4
#define SETASIDE 5 /* a release that quarantines: the connection was reset under the worker */
#define ASSERT 6
#define ASSERTED 7
#define E_CALLER 8
#define E_WORKER 9
#define GONE 10 /* escrow callerGone */
/* Pool-keeper to dispatcher. */
#define ADOPT 11 /* everything in escrow, and `adopt end` */
#define GRANT 12
#define REVOKE 13

chan up[SEATED] = [8] of { byte, byte, byte };
chan down[SEATED] = [4] of { byte, byte, byte };

/* The world. */
byte faults = FAULTS;
byte caller[JOBS];
bit stays[JOBS]; /* has the patience to wait for ever; otherwise it may leave at any moment */
byte callerFd[JOBS];
byte workerFd[TOKENS]; /* one connection for each lease */
bit shut[TOKENS];      /* shut down: no byte passes any more, whoever holds it */
byte at[TOKENS];      /* the worker: 0 nothing, 1 at the job, 2 the response is in the socket */

/* What excuses a loss: not told to a pool-keeper that lives, or adopt-within was over. */
bit bareCaller[JOBS];
bit bareWorker[TOKENS];
bit late[TOKENS];

/* Dispatchers. */
bit started[SEATED];
bit alive[SEATED];
bit ready[SEATED]; /* accepts */
byte link[SEATED]; /* 0 none, 1 up, 2 its pool-keeper is dead, packets may be left */
bit hello[SEATED]; /* said and not yet answered */
byte phase[SEATED]; /* 0 no hello, 1 awaits `adopt end`, 2… telling job 0, 1, …, TELLEND, SERVING */
#define TELLEND (2 + JOBS)
#define SERVING (3 + JOBS)
byte stage[SEATED * JOBS];
byte token[SEATED * JOBS];
#define S(d, j) stage[(d) * JOBS + (j)]
#define T(d, j) token[(d) * JOBS + (j)]
byte wasCut[SEATED]; /* the lease that it reset last: told again while the worker may be at it */

/* The pool-keeper's memory. */
bit keeper;
bit recovering;
bit quarantined;
byte holder[TOKENS]; /* instance + 1 */
byte forJob[TOKENS]; /* the job that it was granted to, plus one; 0 for a lease of an earlier pool-keeper */
bit told[TOKENS];
byte waits[JOBS]; /* whose ticket: instance + 1 */
bit toldTicket[JOBS];
byte keeps[JOBS]; /* whose caller is in escrow: instance + 1 */
bit toldCaller[JOBS];
byte knows[SEATED]; /* 0 nothing, 1 asserting, 2 asserted, 3 dead and has left something, 4 dead */
/* Its disk. */
bit roster[SEATED];
bit aside; /* set aside because of a dead one */
byte epoch;
byte next = 1;
byte granted[TOKENS]; /* in which epoch */

#ifdef EXCLUSIVE_ONLY
#define promise(x) skip
#else
#define promise(x) assert(x)
#endif

#ifdef WITNESS
byte begun[TOKENS]; /* by which instance, plus one */
#endif

bit ok;
byte i, t, e; /* scratch, used inside a d_step and zero outside */

#define FOREACH(v, n) v = 0; do :: v < n ->
#define NEXT(v) v++ :: else -> break od; v = 0

/* The worker is at a job whose connection nobody holds, or which was shut down: it has yet to notice. Set aside at least until then. */
#define orphan(x) (at[x] == 1 && (shut[x] || workerFd[x] == 0))
#define quiet !(orphan(1) || orphan(2) || orphan(3) || orphan(4) || orphan(5) || orphan(6) || orphan(7))
#define leased (holder[1] || holder[2] || holder[3] || holder[4] || holder[5] || holder[6] || holder[7])
#define working(x) (at[x] == 1)
#define busy (working(1) || working(2) || working(3) || working(4) || working(5) || working(6) || working(7))

#define canTurn(d) (alive[d] && len(up[d]) <= 4 && (phase[d] == SERVING || (ready[d] && phase[d] <= 1)))
/* In one turn of its loop: nothing else is done meanwhile. */
#define isTelling(d) (phase[d] >= 2 && phase[d] < SERVING)
#define canSay(d) (link[d] == 1 && phase[d] == SERVING)

/* A holder lets go of a caller's connection. With the last one it is cut. */
inline drop(j, bits) {
    callerFd[j] = callerFd[j] & (255 - (bits));
    if
    :: caller[j] == HERE && callerFd[j] == 0 ->
        promise(bareCaller[j]); /* no lost ticket */
        caller[j] = CUT
    :: else
    fi
}

inline dropWorker(x, bits) {
    workerFd[x] = workerFd[x] & (255 - (bits));
    if
    :: workerFd[x] == 0 && at[x] == 2 -> at[x] = 0
    :: else
    fi
}

inline fail(j, x) {
    if
    :: caller[j] == HERE -> promise(bareWorker[x] || late[x]); caller[j] = FAILED /* no lost job */
    :: else
    fi
}

inline say(d, kind, j, x) {
    if
    :: canSay(d) -> up[d]!kind, j, x
    :: else
    fi
}

/* The caller's connection is over at its dispatcher. */
inline endCaller(d, j) {
    drop(j, HAS(d));
    say(d, GONE, j, 0)
}

inline over(d, j) {
    S(d, j) = NONE;
    T(d, j) = 0
}

/* A ticket, or the same one again: the job goes back to its place in line. */
inline park(d, j) {
    S(d, j) = PARKED;
    T(d, j) = 0;
    say(d, TICKET, j, 0)
}

inline accept(d, j) {
    caller[j] = HERE;
    callerFd[j] = HAS(d);
    bareCaller[j] = 1;
    if
    :: canSay(d) && len(up[d]) <= 5 -> up[d]!E_CALLER, j, 0; callerFd[j] = callerFd[j] | UP; bareCaller[j] = 0
    :: else
    fi;
    park(d, j)
}

/* The lease is not ours any more. Where no byte has reached the worker the job takes another. */
inline lost(d, j, x) {
    if
    :: T(d, j) == x && x != 0 ->
        shut[x] = 1;
        dropWorker(x, HAS(d));
        if
        :: S(d, j) == GRANTED || S(d, j) == DIALED -> park(d, j)
        :: S(d, j) == SENT -> fail(j, x); endCaller(d, j); over(d, j)
        :: else -> over(d, j)
        fi
    :: else
    fi
}

/* What came with `adopt`, by what the records say of it. */
inline adopt(d) {
    FOREACH(t, TOKENS)
        if
        :: workerFd[t] & TO(d) -> workerFd[t] = (workerFd[t] & (255 - TO(d))) | HAS(d)
        :: else
        fi;
    NEXT(t);
    FOREACH(i, JOBS)
        if
        :: callerFd[i] & TO(d) -> callerFd[i] = (callerFd[i] & (255 - TO(d))) | HAS(d)
        :: else
        fi;
        t = T(d, i);
        ok = 0;
        if
        :: t > 0 -> ok = (workerFd[t] & HAS(d)) != 0
        :: else
        fi;
        if
        :: callerFd[i] & HAS(d) ->
            if
            :: S(d, i) == PARKED || ((S(d, i) == DIALED || S(d, i) == SENT || S(d, i) == DONE) && ok)
            :: S(d, i) == GRANTED || (S(d, i) == DIALED && !ok) -> over(d, i); S(d, i) = PARKED
            :: S(d, i) == SENT && !ok -> fail(i, t); drop(i, HAS(d)); over(d, i)
            :: else -> drop(i, HAS(d)); over(d, i)
            fi
        :: else ->
            if
            :: (S(d, i) == SENT || S(d, i) == ENDING) && ok -> S(d, i) = ENDING
            :: S(d, i) == DONE && ok
            :: S(d, i) == DIALED && ok -> dropWorker(t, HAS(d)); over(d, i)
            :: else -> over(d, i)
            fi
        fi;
    NEXT(i);
    ok = 0; t = 0
}

/* One step of one job. */
inline turn(d, j) {
    if
    :: d_step { canTurn(d) && S(d, j) == GRANTED && caller[j] != LEFT ->
        t = T(d, j); S(d, j) = DIALED; workerFd[t] = workerFd[t] | HAS(d); bareWorker[t] = 1;
        if
        :: canSay(d) -> up[d]!E_WORKER, j, t; workerFd[t] = workerFd[t] | UP; bareWorker[t] = 0
        :: else
        fi;
        t = 0 }
    :: d_step { canTurn(d) && S(d, j) == DIALED && caller[j] != LEFT ->
        t = T(d, j);
        if
        :: shut[t] -> dropWorker(t, HAS(d)); say(d, SETASIDE, j, t); park(d, j)
        :: else ->
            assert(!busy); /* exclusive */
#ifdef WITNESS
            begun[t] = d + 1;
#endif
            at[t] = 1; S(d, j) = SENT
        fi;
        t = 0 }
    :: d_step { canTurn(d) && S(d, j) == SENT && shut[T(d, j)] -> t = T(d, j); say(d, SETASIDE, j, t); lost(d, j, t); t = 0 }
    :: d_step { canTurn(d) && S(d, j) == SENT && at[T(d, j)] == 2 && !shut[T(d, j)] && caller[j] != LEFT ->
#ifdef WITNESS
        assert(!(d == 2 && begun[T(d, j)] == 1));
#endif
        caller[j] = ANSWERED; endCaller(d, j); S(d, j) = DONE }
    :: d_step { canTurn(d) && (S(d, j) == DONE || (S(d, j) == ENDING && at[T(d, j)] == 2)) ->
        t = T(d, j);
        at[t] = 0; dropWorker(t, HAS(d)); say(d, RELEASE, j, t); over(d, j); t = 0 }
    /* abandon is over, or it was fenced: cut, and then released */
    :: d_step { canTurn(d) && S(d, j) == ENDING && at[T(d, j)] != 2 ->
        t = T(d, j);
#ifdef RELEASE_BEFORE_CUT
        say(d, SETASIDE, j, t); S(d, j) = LATE;
#else
        shut[t] = 1; dropWorker(t, HAS(d)); say(d, SETASIDE, j, t); wasCut[d] = t; over(d, j);
#endif
        t = 0 }
    :: d_step { canTurn(d) && S(d, j) == LATE -> t = T(d, j); shut[t] = 1; dropWorker(t, HAS(d)); over(d, j); t = 0 }
    /* The caller has left. */
    :: d_step { canTurn(d) && caller[j] == LEFT && S(d, j) == PARKED -> say(d, CANCEL, j, 0); endCaller(d, j); over(d, j) }
    :: d_step { canTurn(d) && caller[j] == LEFT && (S(d, j) == GRANTED || S(d, j) == DIALED) ->
        t = T(d, j);
        dropWorker(t, HAS(d)); say(d, UNUSED, j, t); endCaller(d, j); over(d, j); t = 0 }
    :: d_step { canTurn(d) && caller[j] == LEFT && S(d, j) == SENT && !shut[T(d, j)] ->
        endCaller(d, j);
#ifdef RELEASE_ON_LEAVE
        say(d, RELEASE, j, T(d, j)); S(d, j) = LATE
#else
        S(d, j) = ENDING
#endif
        }
    fi
}

proctype Dispatcher(byte me) {
    byte j, kind, x;
end:
    do
    /* Its pool-keeper is dead: what that had sent is read to the end, then a new link. */
    :: d_step { alive[me] && link[me] == 2 && empty(down[me]) -> link[me] = 0; phase[me] = 0 }
    :: d_step { alive[me] && phase[me] == 0 && link[me] == 0 && keeper -> link[me] = 1; hello[me] = 1; phase[me] = 1 }

    :: d_step { alive[me] && nempty(down[me]) && len(up[me]) <= 4 && (!isTelling(me) || link[me] == 2) -> down[me]?kind, j, x;
        if
        :: kind == ADOPT -> adopt(me); phase[me] = 2
        :: kind == GRANT ->
            if
            :: S(me, j) == PARKED -> S(me, j) = GRANTED; T(me, j) = x
            :: else -> say(me, UNUSED, j, x)
            fi
        :: kind == REVOKE -> lost(me, j, x)
        fi;
        kind = 0; j = 0; x = 0 }

    /* Tells everything, a job at a time: a death may come between. */
    :: d_step { alive[me] && link[me] == 1 && phase[me] >= 2 && phase[me] < TELLEND && len(up[me]) <= 4 ->
        j = phase[me] - 2;
        if
        :: callerFd[j] & HAS(me) -> up[me]!E_CALLER, j, 0; callerFd[j] = callerFd[j] | UP; bareCaller[j] = 0
        :: else
        fi;
        if
        :: S(me, j) == PARKED ->
#ifndef FORGET_TICKETS
            up[me]!TICKET, j, 0
#else
            skip
#endif
        :: S(me, j) >= GRANTED && S(me, j) < LATE ->
            x = T(me, j);
            up[me]!ASSERT, j, x;
            if
            :: workerFd[x] & HAS(me) -> up[me]!E_WORKER, j, x; workerFd[x] = workerFd[x] | UP; bareWorker[x] = 0
            :: else
            fi
        :: else
        fi;
        phase[me] = phase[me] + 1; j = 0; x = 0 }
    :: d_step { alive[me] && link[me] == 1 && phase[me] == TELLEND && len(up[me]) <= 4 ->
        if
        :: wasCut[me] && at[wasCut[me]] == 1 -> up[me]!SETASIDE, 0, wasCut[me]
        :: else
        fi;
        up[me]!ASSERTED, 0, 0; phase[me] = SERVING; ready[me] = 1 }

    /* Accepts: in escrow, and its ticket told, at the end of the turn. */
    :: d_step { canTurn(me) && ready[me] && caller[0] == NEW -> accept(me, 0) }
    :: d_step { canTurn(me) && ready[me] && caller[0] != NEW && caller[1] == NEW -> accept(me, 1) }
    :: turn(me, 0)
    :: turn(me, 1)
    od
}

/* The lease ends without a word of its holder: nobody can write to the worker any more, and it is set aside. */
inline fence(x) {
    holder[x] = 0; forJob[x] = 0;
    told[x] = 0;
#ifndef RELEASE_BEFORE_CUT
    if
    :: workerFd[x] & ESCROW -> shut[x] = 1
    :: else
    fi;
#endif
    dropWorker(x, ESCROW);
    quarantined = 1
}

/* Nothing is left of it. */
inline settle(d) {
    knows[d] = 4;
    roster[d] = roster[d] && recovering;
    FOREACH(i, JOBS) over(d, i); NEXT(i)
}

/* Has it left anything in escrow? */
inline estate(d) {
    ok = 0;
    FOREACH(t, TOKENS) ok = ok || holder[t] == d + 1; NEXT(t);
    FOREACH(i, JOBS) ok = ok || (keeps[i] == d + 1 && (callerFd[i] & ESCROW)); NEXT(i)
}

inline bury(d) {
    link[d] = 0;
    hello[d] = 0;
    FOREACH(t, TOKENS)
        if
        :: holder[t] == d + 1 && !(workerFd[t] & ESCROW) && !forJob[t] -> holder[t] = 0; told[t] = 0; quarantined = 1
        :: else
        fi;
    NEXT(t);
    FOREACH(i, JOBS)
        if
        :: waits[i] == d + 1 && keeps[i] != d + 1 -> waits[i] = 0; toldTicket[i] = 0
        :: else
        fi;
    NEXT(i);
    estate(d);
    if
    :: ok -> knows[d] = 3
    :: else -> settle(d)
    fi;
    ok = 0;
    aside = aside || quarantined
}

/* Its leases, tickets and descriptors go to the next in the seat, still to be asserted; we keep ours. */
inline inherit(d, h) {
    FOREACH(t, TOKENS)
        if
        :: holder[t] == d + 1 ->
            holder[t] = h + 1; told[t] = 0;
            if
            :: workerFd[t] & ESCROW -> workerFd[t] = workerFd[t] | TO(h)
            :: else
            fi
        :: else
        fi;
    NEXT(t);
    FOREACH(i, JOBS)
        if
        :: waits[i] == d + 1 -> waits[i] = h + 1; toldTicket[i] = 0
        :: else
        fi;
        if
        :: keeps[i] == d + 1 -> keeps[i] = h + 1; toldCaller[i] = 0; callerFd[i] = callerFd[i] | TO(h)
        :: else
        fi;
        S(h, i) = S(d, i);
        T(h, i) = T(d, i);
    NEXT(i)
}

inline tryInherit(d, h) {
    if
    :: knows[d] == 3 -> inherit(d, h); settle(d)
#ifdef ADOPT_STOPPED
    :: alive[d] && knows[d] == 2 && d != h -> inherit(d, h)
#endif
    :: else
    fi
}

#define isSettled(d, o) (d == o || alive[o] || knows[o] >= 3 || (!roster[o] && link[o] != 1))
#define hasRecovered(d) ((!roster[d] && knows[d] != 1) || knows[d] == 2 || (knows[d] >= 3 && quiet))
#ifdef GRANT_EARLY
#define allRecovered true
#else
#define allRecovered (hasRecovered(0) && hasRecovered(1) && hasRecovered(2))
#endif
/* No successor is started while the newest in the seat lives. */
#define noHeir ((alive[1] && knows[1] > 0) || (alive[2] && knows[2] > 0) || (alive[0] && knows[0] > 0))

inline heard(d, kind, j, x) {
    if
    :: kind == E_CALLER -> callerFd[j] = (callerFd[j] & (255 - UP)) | ESCROW; keeps[j] = d + 1; toldCaller[j] = 1
    :: kind == GONE ->
        if
        :: keeps[j] == d + 1 -> keeps[j] = 0; toldCaller[j] = 0; drop(j, ESCROW)
        :: else
        fi
    :: kind == E_WORKER ->
        workerFd[x] = workerFd[x] & (255 - UP);
        if
        :: holder[x] == d + 1 -> workerFd[x] = workerFd[x] | ESCROW
        :: else -> dropWorker(x, 0)
        fi
    :: kind == TICKET ->
        waits[j] = d + 1; toldTicket[j] = 1;
        /* A successor tells the ticket of a job only where no byte of it has reached the worker: its predecessor's grant was not used. */
        FOREACH(t, TOKENS)
            if
            :: knows[d] == 1 && holder[t] == d + 1 && !told[t] && forJob[t] == j + 1 && !(workerFd[t] & ESCROW) -> holder[t] = 0; forJob[t] = 0
            :: else
            fi;
        NEXT(t)
    :: kind == CANCEL ->
        if
        :: waits[j] == d + 1 -> waits[j] = 0; toldTicket[j] = 0
        :: else
        fi
    :: kind == UNUSED || kind == RELEASE || kind == SETASIDE ->
        if
        :: holder[x] == d + 1 ->
            holder[x] = 0; told[x] = 0; forJob[x] = 0; dropWorker(x, ESCROW);
            quarantined = quarantined || kind == SETASIDE
        :: else -> quarantined = quarantined || (kind == SETASIDE && granted[x] != epoch)
        fi
    :: kind == ASSERT ->
        if
        :: holder[x] == d + 1 -> told[x] = 1
        :: holder[x] != d + 1 && (holder[x] != 0 || granted[x] == epoch) ->
            if
            :: alive[d] -> down[d]!REVOKE, j, x
            :: else
            fi
        :: else -> holder[x] = d + 1; told[x] = 1
        fi
    :: kind == ASSERTED ->
        knows[d] = 2;
        FOREACH(t, TOKENS)
            if
            :: holder[t] == d + 1 && !told[t] -> fence(t)
            :: else
            fi;
        NEXT(t);
        FOREACH(i, JOBS)
            if
            :: waits[i] == d + 1 && !toldTicket[i] -> waits[i] = 0
            :: else
            fi;
            if
            :: keeps[i] == d + 1 && !toldCaller[i] -> keeps[i] = 0; drop(i, ESCROW)
            :: else
            fi;
        NEXT(i)
    fi
}

/* adopt-within is over: what a dead one has left, or what a living heir has not asserted. */
inline expire(d) {
    FOREACH(t, TOKENS)
        if
        :: holder[t] == d + 1 && (knows[d] == 3 || !told[t]) -> late[t] = 1; fence(t)
        :: else
        fi;
    NEXT(t);
    FOREACH(i, JOBS)
        if
        :: waits[i] == d + 1 && (knows[d] == 3 || !toldTicket[i]) -> waits[i] = 0; toldTicket[i] = 0
        :: else
        fi;
        if
        :: keeps[i] == d + 1 && knows[d] == 3 -> keeps[i] = 0; toldCaller[i] = 0; bareCaller[i] = 1; drop(i, ESCROW)
        :: else
        fi;
    NEXT(i);
    aside = aside || quarantined;
    if
    :: knows[d] == 3 -> settle(d)
    :: else
    fi
}

inline grant(d, j) {
    d_step { keeper && !recovering && !quarantined && !leased && waits[j] == d + 1 && toldTicket[j] && knows[d] == 2 ->
        t = next;
        assert(t < TOKENS);
        next = next + 1;
        holder[t] = d + 1; told[t] = 1; granted[t] = epoch; forJob[t] = j + 1; waits[j] = 0; toldTicket[j] = 0;
        if
        :: alive[d] -> down[d]!GRANT, j, t
        :: else
        fi;
        t = 0 }
}

inline serve(d) {
    if
    :: d_step { keeper && hello[d] && alive[d] && isSettled(d, 0) && isSettled(d, 1) && isSettled(d, 2) ->
        hello[d] = 0;
        if
        /* Known to an earlier pool-keeper: it has sessions of its own, and is nobody's heir. */
        :: roster[d]
        :: !roster[d] && d > 1 && knows[1] == 3 -> tryInherit(1, d)
        :: else -> tryInherit(0, d)
        fi;
        knows[d] = 1; roster[d] = 1;
        down[d]!ADOPT, 0, 0 }
    :: d_step { keeper && link[d] == 1 && !hello[d] && nempty(up[d]) && len(down[d]) < 4 -> up[d]?kind, j, x;
        heard(d, kind, j, x);
        kind = 0; j = 0; x = 0 }
    :: d_step { keeper && started[d] && !alive[d] && knows[d] < 3 && (roster[d] || link[d] == 1) && (link[d] != 1 || hello[d] || empty(up[d])) -> bury(d) }
    :: d_step { keeper && knows[d] == 3 && (noHeir || faults > 0) -> faults = (noHeir -> faults : faults - 1); expire(d) }
    fi
}

proctype Keeper() {
    byte j, kind, x;
end:
    do
    :: d_step { !keeper -> keeper = 1; recovering = 1; quarantined = aside; epoch = epoch + 1 }
    :: serve(0)
    :: serve(1)
    :: serve(2)
    /* An heir that is stopped before it has asserted. */
    :: d_step { keeper && knows[1] == 1 && alive[1] && faults > 0 -> faults = faults - 1; expire(1) }
    :: d_step { keeper && recovering && allRecovered -> recovering = 0;
        FOREACH(i, SEATED) roster[i] = roster[i] && knows[i] != 4; NEXT(i) }
    :: d_step { keeper && quarantined && quiet -> quarantined = 0; aside = 0 }
    :: grant(0, 0)
    :: grant(0, 1)
    :: grant(1, 0)
    :: grant(1, 1)
    :: grant(2, 0)
    :: grant(2, 1)
    od
}

inline killKeeper() {
    keeper = 0; recovering = 0; quarantined = 0;
    FOREACH(i, SEATED)
        do
        :: nempty(up[i]) -> up[i]?_, _, _
        :: empty(up[i]) -> break
        od;
        hello[i] = 0; knows[i] = 0;
        if
        :: link[i] == 1 -> link[i] = (alive[i] -> 2 : 0)
        :: else
        fi;
    NEXT(i);
    FOREACH(t, TOKENS)
        holder[t] = 0; told[t] = 0; forJob[t] = 0;
        bareWorker[t] = bareWorker[t] || workerFd[t];
        dropWorker(t, ESCROW + UP);
    NEXT(t);
    FOREACH(i, JOBS)
        waits[i] = 0; toldTicket[i] = 0; keeps[i] = 0; toldCaller[i] = 0;
        bareCaller[i] = caller[i] == HERE;
        drop(i, ESCROW + UP);
    NEXT(i)
}

inline kill(d) {
    alive[d] = 0; ready[d] = 0; phase[d] = 0; wasCut[d] = 0;
    do
    :: nempty(down[d]) -> down[d]?_, _, _
    :: empty(down[d]) -> break
    od;
    link[d] = (link[d] == 2 -> 0 : link[d]);
    FOREACH(t, TOKENS) dropWorker(t, HAS(d) + TO(d)); NEXT(t);
    FOREACH(i, JOBS) drop(i, HAS(d) + TO(d)); NEXT(i)
}

#define work(x) d_step { at[x] == 1 -> at[x] = (orphan(x) -> 0 : 2) }

/* Faults, those who start what has died, the callers, the worker, and the end. */
proctype World() {
    do
    :: d_step { faults > 0 && keeper -> faults = faults - 1; killKeeper() }
    :: d_step { faults > 0 && alive[0] -> faults = faults - 1; kill(0) }
    :: d_step { faults > 0 && alive[1] -> faults = faults - 1; kill(1) }
    /* The last one lives: nobody would come after it. */
    :: d_step { !started[1] && !alive[0] -> started[1] = 1; alive[1] = 1 }
    :: d_step { !started[2] && started[1] && !alive[1] && !alive[0] -> started[2] = 1; alive[2] = 1 }
    /* Its predecessor is stopped, and not dead. */
    :: d_step { !started[1] && alive[0] && faults > 0 -> faults = faults - 1; started[1] = 1; alive[1] = 1 }
    :: d_step { caller[0] == HERE && !stays[0] -> caller[0] = LEFT }
    :: d_step { caller[1] == HERE && !stays[1] -> caller[1] = LEFT }
    :: work(1) :: work(2) :: work(3) :: work(4) :: work(5) :: work(6) :: work(7)
    :: timeout ->
        d_step {
            FOREACH(i, JOBS)
                promise(caller[i] != NEW && caller[i] != HERE); /* no lost ticket */
                promise(waits[i] == 0);
            NEXT(i);
            promise(keeper && !recovering && !quarantined && !leased && !busy)
        };
        break
    od
}

init {
    atomic {
        started[0] = 1; alive[0] = 1;
        keeper = 1; recovering = 1; epoch = 1;
        if :: stays[0] = 1 :: skip fi;
        if :: stays[1] = 1 :: skip fi;
        run Keeper(); run Dispatcher(0); run Dispatcher(1); run Dispatcher(2); run World()
    }
}
