import Model

extension Reflector {
    /// Asks for what is next.
    mutating func call(_ now: Instant, _ actions: inout [ReflectorAction]) {
        lastID += 1
        var call = Call(id: APIRequest.ID(rawValue: lastID), purpose: purpose, sentAt: now, heardAt: now)
        var query: [(name: String, value: String)] = []
        var longest = Self.listLimit
        switch step {
        case .list:
            fresh = FreshCopy()
            if usesWatchList {
                query = watchQuery(&call, now, &longest)
                query += [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")]
                if !isVersionUnavailable, !resourceVersion.isEmpty { query.append(("resourceVersion", resourceVersion)) }
            } else if isVersionUnavailable {
                // The newest state, from the server's database: in pages. Everything else comes from its cache, in one piece.
                if !wantsOnePage { query = [("limit", "\(Self.pageSize)")] }
            } else {
                query = [("resourceVersion", resourceVersion.isEmpty ? "0" : resourceVersion)]
            }
        case .page(let continuation):
            query = [("limit", "\(Self.pageSize)"), ("continue", continuation)]
        case .watch:
            query = watchQuery(&call, now, &longest)
            query.append(("resourceVersion", resourceVersion))
            call.firstVersion = resourceVersion
        }
        if !scope.labelSelector.isEmpty { query.append(("labelSelector", scope.labelSelector)) }
        if !scope.fieldSelector.isEmpty { query.append(("fieldSelector", scope.fieldSelector)) }
        let target = scope.path + "?" + query.map { "\($0.name)=\($0.value.percentEncoded)" }.joined(separator: "&")
        counts.requests += 1
        phase = .calling(call)
        actions.append(
            .request(
                APIRequest(
                    id: call.id, target: target, accept: usesProtobuf ? Self.protobufFirst : "application/json", longest: longest)))
    }

    static let protobufFirst = "application/vnd.kubernetes.protobuf,application/json"

    private var purpose: Purpose {
        switch step {
        case .list: usesWatchList ? .watchList : .page
        case .page: .page
        case .watch: .watch
        }
    }

    /// A watch lasts 5 to 10 minutes, so that those of many clients do not begin anew together.
    private mutating func watchQuery(
        _ call: inout Call, _ now: Instant, _ longest: inout Duration
    ) -> [(name: String, value: String)] {
        let seconds = 300 + Int64(random.next() % 301)
        call.endsAt = now + .seconds(seconds)
        longest = .seconds(seconds) + Self.headLimit + Self.watchGrace
        return [("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", "\(seconds)")]
    }

    /// When a request has to be given up, and what that is to be called.
    func deadline(of call: Call) -> (at: Instant, problem: ReflectorProblem) {
        guard let head = call.head else {
            return (
                call.sentAt + Self.headLimit,
                ReflectorProblem(.timeout, "the server did not answer within \(Self.headLimit.components.seconds) s (\(scope))")
            )
        }
        if !head.isSuccess {
            return (call.heardAt + Self.refusalLimit, ReflectorProblem(.other, "a refusal did not come to its end (\(scope))"))
        }
        let silence: Duration
        let isList: Bool
        switch call.purpose {
        case .page: (silence, isList) = (Self.listSilenceLimit, true)
        case .watchList where fresh != nil: (silence, isList) = (Self.listSilenceLimit, true)
        case .watch, .watchList: (silence, isList) = (sendsBookmarks ? Self.watchSilenceLimit : .seconds(3600), false)
        }
        let end = isList ? call.sentAt + Self.listLimit : call.endsAt + Self.watchGrace
        if call.heardAt + silence <= end {
            let word = isList ? "in the middle of a list" : "not even a bookmark"
            return (
                call.heardAt + silence,
                ReflectorProblem(.silent, "the server said nothing for \(silence.components.seconds) s, \(word) (\(scope))")
            )
        }
        if isList {
            return (end, ReflectorProblem(.timeout, "a list was not complete within \(Self.listLimit.components.seconds) s (\(scope))"))
        }
        return (end, ReflectorProblem(.silent, "the server did not end a watch at its time (\(scope))"))
    }

    /// When a watch that has said nothing counts as one that works.
    func settlesAt(_ call: Call) -> Instant {
        guard !call.isSettled, call.purpose == .watch, let head = call.head, head.isSuccess else { return .never }
        return (connectedSince ?? call.heardAt) + Self.shortWatch
    }
}

extension ResponseHead {
    var isSuccess: Bool { 200..<300 ~= status }
}
