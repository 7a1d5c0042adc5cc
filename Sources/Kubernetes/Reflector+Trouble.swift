import Model

extension Reflector {
    /// What went wrong, and what follows from it.
    struct Failure {
        var problem: ReflectorProblem
        /// What to ask for next, if something else than now.
        var changesStep: Step?
        var retryAfter: Duration?

        init(_ problem: ReflectorProblem, changesStep: Step? = nil, retryAfter: Duration? = nil) {
            self.problem = problem
            self.changesStep = changesStep
            self.retryAfter = retryAfter
        }
    }

    func unreadable(_ what: String) -> ReflectorProblem {
        ReflectorProblem(.unreadable, "the server's answer cannot be read: \(what) (\(scope))")
    }

    /// Gives up a request whose time has come.
    mutating func overdue(_ call: Call, _ problem: ReflectorProblem, _ now: Instant, _ actions: inout [ReflectorAction]) {
        if let head = call.head, !head.isSuccess {
            return fail(failure(code: head.status, status: call.decoder?.status, head: head), now, &actions, isOver: false)
        }
        if call.purpose == .watchList, fresh != nil, call.head != nil {
            giveUpWatchList("the end of the initial events did not come", &actions)
        }
        fail(Failure(problem), now, &actions, isOver: false)
    }

    mutating func failed(_ id: APIRequest.ID, _ failure: TransportFailure, _ now: Instant, _ actions: inout [ReflectorAction]) {
        guard case .calling(let call) = phase, call.id == id else { return }
        let (kind, remedy) = failure.kind.meaning
        let detail = remedy.isEmpty ? failure.detail : "\(failure.detail): \(remedy)"
        fail(Failure(ReflectorProblem(kind, detail)), now, &actions, isOver: true)
    }

    /// An answer that is no success, or an ERROR event.
    mutating func failure(code: Int, status: APIStatus?, head: ResponseHead?) -> Failure {
        let said = status.map(\.message).flatMap { $0.isEmpty ? nil : String($0.prefix(500)) } ?? "HTTP status \(code)"
        let retryAfter = head?.retryAfter ?? status?.retryAfter
        if status?.isExpired == true || code == 410 { return expired(said) }
        if status?.isTooLargeResourceVersion == true { return tooLarge(said, retryAfter) }
        switch code {
        case 401: return Failure(ReflectorProblem(.unauthorized, "\(said): the server does not accept the credentials; renew the token or certificate that the kubeconfig or service account gives (\(scope))"))
        case 403:
            let group = scope.resource.group.isEmpty ? scope.resource.plural : "\(scope.resource.plural).\(scope.resource.group)"
            let place = scope.namespace.map { "namespace \($0)" } ?? "all namespaces"
            return Failure(ReflectorProblem(.forbidden, "\(said): grant this identity list and watch on \(group) in \(place)"))
        case 404:
            return Failure(
                ReflectorProblem(.notFound, "\(said): is this the base URL of an API server of Kubernetes 1.21 or later? (\(scope.path))"))
        case 406, 415:
            usesProtobuf = false
            return Failure(unreadable(said))
        case 429: return Failure(ReflectorProblem(.tooManyRequests, "\(said) (\(scope))"), retryAfter: retryAfter)
        case 500...599: return Failure(ReflectorProblem(.serverError, "\(said) (\(scope))"), retryAfter: retryAfter)
        case _: return Failure(ReflectorProblem(.other, "\(said) (\(scope))"), retryAfter: retryAfter)
        }
    }

    private mutating func expired(_ said: String) -> Failure {
        let problem = ReflectorProblem(.expired, "\(said) (\(scope))")
        isVersionUnavailable = true
        if case .page = step { wantsOnePage = true }
        return Failure(problem, changesStep: .list)
    }

    /// A server that lags behind the one that we spoke to before. It may catch up; if not, what it has counts.
    private mutating func tooLarge(_ said: String, _ retryAfter: Duration?) -> Failure {
        var failure = Failure(ReflectorProblem(.tooLargeResourceVersion, "\(said) (\(scope))"), retryAfter: retryAfter)
        if step != .watch || problem?.kind == .tooLargeResourceVersion {
            isVersionUnavailable = true
            failure.changesStep = .list
        }
        return failure
    }

    mutating func giveUpWatchList(_ why: String, _ actions: inout [ReflectorAction]) {
        guard usesWatchList else { return }
        usesWatchList = false
        actions.append(.log(.noWatchList("\(why) (\(scope))")))
    }

    /// Ends the request under way and decides when and how to go on.
    ///
    /// - Parameter isOver: whether the request has ended by itself.
    mutating func fail(_ failure: Failure, _ now: Instant, _ actions: inout [ReflectorAction], isOver: Bool) {
        guard case .calling(let call) = phase else { return }
        if !isOver { actions.append(.cancel(call.id)) }
        connectedSince = nil
        // Half a stream is no list; half of the pages are good for as long as the server remembers them.
        if call.purpose == .watchList || failure.changesStep == .list { fresh = nil }
        if let step = failure.changesStep { self.step = step }
        let kind = failure.problem.kind
        counts.errors[kind, default: 0] += 1

        if call.purpose == .watchList, step == .list, let head = call.head, Self.refusesWatchList(head.status) {
            // Nothing is wrong: older servers know no better.
            giveUpWatchList(failure.problem.detail, &actions)
            return self.call(now, &actions)
        }
        if call.purpose == .watchList, step == .list, kind == .unreadable || kind == .other {
            // Whatever it is, the plain way may do without it.
            giveUpWatchList(failure.problem.detail, &actions)
        }
        if kind == .unreadable, call.decoder?.isProtobuf == true { usesProtobuf = false }
        if kind == .unauthorized {
            refusals += 1
            // The first time, the token was renewed under us: that is no trouble yet.
            if refusals > 1 { report(failure.problem, retryIn: .zero, now, &actions) }
            phase = .renewing(until: now + Self.renewalLimit)
            actions.append(.renewCredentials)
            return
        }
        wait(failure.problem, retryAfter: failure.retryAfter, now, &actions)
    }

    /// 400 and 422: invalid options. 404, 405, 501: something in between that knows no such request.
    private static func refusesWatchList(_ status: Int) -> Bool {
        switch status {
        case 400, 405, 422, 501: true
        case _: false
        }
    }

    private mutating func wait(_ problem: ReflectorProblem, retryAfter: Duration?, _ now: Instant, _ actions: inout [ReflectorAction]) {
        if let since = wellSince, now - since >= Self.wellAfter { failures = 0 }
        wellSince = nil
        failures += 1
        let bound = min(Self.mostBackoff, Self.firstBackoff * (1 << min(failures - 1, 10)))
        var pause = max(Self.leastBackoff, random.duration(upTo: bound))
        // Many were told the same time: nobody comes exactly then.
        if let retryAfter { pause += min(retryAfter, Self.mostRetryAfter) }
        report(problem, retryIn: pause, now, &actions)
        phase = .waiting(until: now + pause)
    }

    /// Says once what is wrong, for as long as it is the same.
    private mutating func report(_ problem: ReflectorProblem, retryIn: Duration, _ now: Instant, _ actions: inout [ReflectorAction]) {
        let isNew = self.problem?.kind != problem.kind
        self.problem = problem
        if isNew {
            switch problem.kind {
            case .expired: actions.append(.log(.expired(resourceVersion: resourceVersion)))
            case .connectionRefused, .unreachable, .nameNotResolved, .tls, .connectionLost, .timeout, .credentials, .unauthorized,
                .forbidden, .notFound, .tooLargeResourceVersion, .tooManyRequests, .serverError, .shortWatch, .silent, .unreadable, .other:
                actions.append(.log(.trouble(problem, retryIn: retryIn)))
            }
        }
        tell(isComplete ? .away(problem.detail) : .unknown(problem.detail), &actions)
    }

    /// A list is complete, or a watch has shown that it works.
    mutating func settled(_ now: Instant, _ actions: inout [ReflectorAction]) {
        guard case .calling(var call) = phase, isComplete else { return }
        call.isSettled = true
        phase = .calling(call)
        if wellSince == nil { wellSince = now }
        if let problem {
            self.problem = nil
            if case .away = toldHealth { actions.append(.log(.recovered(after: problem))) }
        }
        tell(.live, &actions)
    }

    private mutating func tell(_ health: ReflectorHealth, _ actions: inout [ReflectorAction]) {
        if health == toldHealth { return }
        toldHealth = health
        actions.append(.health(health))
    }

    // MARK: Credentials

    mutating func credentialsRenewed(_ now: Instant, _ actions: inout [ReflectorAction]) {
        guard case .renewing = phase else { return }
        if refusals <= 1 { return call(now, &actions) }
        wait(problem ?? ReflectorProblem(.unauthorized, "the server does not accept the credentials; renew the token or certificate that the kubeconfig or service account gives (\(scope))"), retryAfter: nil, now, &actions)
    }

    mutating func credentialsFailed(_ why: String, _ now: Instant, _ actions: inout [ReflectorAction]) {
        guard case .renewing = phase else { return }
        counts.errors[.credentials, default: 0] += 1
        wait(ReflectorProblem(.credentials, why), retryAfter: nil, now, &actions)
    }
}

extension TransportFailure.Kind {
    /// What it is counted as, and what to do about it.
    var meaning: (kind: ReflectorProblem.Kind, remedy: String) {
        switch self {
        case .connectionRefused: (.connectionRefused, "nobody listens there; is the server's address right, and is it up?")
        case .unreachable: (.unreachable, "check the server's address, routes and firewalls")
        case .nameNotResolved: (.nameNotResolved, "check the server's name and this machine's resolver")
        // Whoever looked at the certificate has said what to do.
        case .tls: (.tls, "")
        case .connectionLost: (.connectionLost, "")
        case .timeout: (.timeout, "")
        case .credentials: (.credentials, "")
        case .other: (.other, "")
        }
    }
}
