import Model

extension Reflector {
    /// The request under way, if this is it; everything else is an echo of one that was given up.
    private func current(_ id: APIRequest.ID) -> Call? {
        guard case .calling(let call) = phase, call.id == id else { return nil }
        return call
    }

    mutating func responded(_ id: APIRequest.ID, _ head: ResponseHead, _ now: Instant) {
        guard var call = current(id), call.head == nil else { return }
        call.head = head
        call.heardAt = now
        let form: BodyDecoder.Form
        if !head.isSuccess {
            form = .status
        } else {
            refusals = 0
            switch call.purpose {
            case .page: form = .list
            case .watchList, .watch:
                form = .watch
                connectedSince = now
            }
        }
        call.decoder = BodyDecoder(form, scope.resource, contentType: head.contentType)
        phase = .calling(call)
    }

    mutating func received(_ id: APIRequest.ID, _ bytes: [UInt8], _ now: Instant, _ actions: inout [ReflectorAction]) {
        guard var call = current(id), var decoder = call.decoder else { return }
        counts.bytes &+= UInt64(bytes.count)
        // A refusal has its time, however much it says.
        if call.head?.isSuccess == true { call.heardAt = now }
        // The decoder has one owner at a time: two would copy what it holds.
        call.decoder = nil
        phase = .idle
        var decoded: [Decoded] = []
        var mistake: DecodingProblem?
        do throws(DecodingProblem) { try decoder.feed(bytes, &strings, &decoded) } catch { mistake = error }
        call.decoder = decoder
        phase = .calling(call)
        var (changes, failure) = take(decoded, now, &actions)
        if !changes.isEmpty { actions.append(.apply(ObjectUpdate(.events, changes))) }
        changes = []
        if let failure {
            fail(failure, now, &actions, isOver: false)
        } else if let mistake {
            fail(Failure(unreadable(mistake.description), changesStep: .list), now, &actions, isOver: false)
        }
    }

    /// What the server said, one thing after the other. Ends at an error.
    private mutating func take(
        _ decoded: [Decoded], _ now: Instant, _ actions: inout [ReflectorAction]
    ) -> (changes: [ObjectChange], failure: Failure?) {
        var changes: [ObjectChange] = []
        for one in decoded {
            switch one {
            case .listMetadata(let metadata):
                guard case .calling(var call) = phase else { continue }
                call.listMetadata = metadata
                phase = .calling(call)
            case .item(let object): fresh?.put(object)
            case .event(let type, let object):
                counts.events += 1
                lastHeard = now
                event(type, object, &changes)
            case .bookmark(let version, let endsInitialEvents):
                counts.bookmarks += 1
                sendsBookmarks = true
                lastHeard = now
                if fresh == nil {
                    resourceVersion = version
                } else if endsInitialEvents {
                    complete(version, now, &actions)
                }
            case .error(let status): return (changes, failure(code: status.code, status: status, head: nil))
            case .unknownEvent(let type): unreadableObject("an event of the unknown type \(type.prefix(40)) (\(scope))", &actions)
            case .unreadable(let key, let mistake):
                if let key { fresh?.keep(key) }
                unreadableObject("\(key.map(\.description) ?? "an object without a name"): \(mistake) (\(scope))", &actions)
            }
            if fresh == nil, case .calling(let call) = phase, !call.isSettled { settled(now, &actions) }
        }
        return (changes, nil)
    }

    private mutating func event(_ type: Decoded.EventType, _ object: WatchedObject, _ changes: inout [ObjectChange]) {
        let key = object.key
        if fresh != nil {
            // Synthetic events come in no order: their versions say nothing about where we stand.
            switch type {
            case .added, .modified: fresh?.put(object)
            case .deleted: fresh?.remove(key)
            }
            return
        }
        switch type {
        case .added, .modified:
            known.insert(key)
            changes.append(.upserted(object))
        case .deleted:
            known.remove(key)
            changes.append(.deleted(key))
        }
        if let version = object.metadata.resourceVersion, !version.isEmpty { resourceVersion = version }
    }

    private mutating func unreadableObject(_ what: String, _ actions: inout [ReflectorAction]) {
        counts.errors[.unreadable, default: 0] += 1
        if what == lastUnreadable { return }
        lastUnreadable = what
        actions.append(.log(.unreadableObject(what)))
    }

    /// A list was read to its end: what is different is told, all at once.
    private mutating func complete(_ version: String, _ now: Instant, _ actions: inout [ReflectorAction]) {
        guard let fresh = fresh.take() else { return }
        resourceVersion = version
        isVersionUnavailable = false
        wantsOnePage = false
        lastHeard = now
        step = .watch
        let isFirst = !isComplete
        isComplete = true
        if !isFirst { counts.relists += 1 }
        actions.append(.apply(ObjectUpdate(.relist, fresh.changes(to: &known))))
        if isFirst { actions.append(.log(.synchronized(objects: known.count, resourceVersion: version))) }
    }

    mutating func ended(_ id: APIRequest.ID, _ now: Instant, _ actions: inout [ReflectorAction]) {
        guard let call = current(id) else { return }
        guard let head = call.head, let decoder = call.decoder else {
            return fail(Failure(ReflectorProblem(.connectionLost, "an answer ended before it began (\(scope))")), now, &actions, isOver: true)
        }
        guard head.isSuccess else {
            return fail(failure(code: head.status, status: decoder.status, head: head), now, &actions, isOver: true)
        }
        guard decoder.isAtEnd else {
            return fail(
                Failure(ReflectorProblem(.connectionLost, "the server's answer ended in the middle of an object (\(scope))")), now, &actions,
                isOver: true)
        }
        switch call.purpose {
        case .page: pageEnded(call, now, &actions)
        case .watchList where fresh != nil:
            // Neither refused nor done: a server, or a proxy, that does not know what was asked.
            giveUpWatchList("the stream ended before its list was complete", &actions)
            fail(
                Failure(ReflectorProblem(.shortWatch, "a streamed list ended before it was complete (\(scope))")), now, &actions, isOver: true)
        case .watch, .watchList: watchEnded(call, now, &actions)
        }
    }

    private mutating func pageEnded(_ call: Call, _ now: Instant, _ actions: inout [ReflectorAction]) {
        guard let metadata = call.listMetadata, !metadata.resourceVersion.isEmpty else {
            return fail(Failure(unreadable("a list without a resourceVersion"), changesStep: .list), now, &actions, isOver: true)
        }
        if metadata.continuation.isEmpty {
            complete(metadata.resourceVersion, now, &actions)
            // A copy that is complete is in step; whether it stays so the watch will show.
            settled(now, &actions)
        } else {
            step = .page(continuation: metadata.continuation)
        }
        self.call(now, &actions)
    }

    private mutating func watchEnded(_ call: Call, _ now: Instant, _ actions: inout [ReflectorAction]) {
        let lasted = now - (connectedSince ?? now)
        connectedSince = nil
        if call.purpose == .watch, lasted < Self.shortWatch, resourceVersion == call.firstVersion {
            let milliseconds = lasted.milliseconds
            return fail(
                Failure(ReflectorProblem(.shortWatch, "the server ended a watch after \(milliseconds) ms without a word (\(scope))")), now,
                &actions, isOver: true)
        }
        // As planned: the next one goes on where this one stood.
        step = .watch
        self.call(now, &actions)
    }
}
