import Foundation
import NIOCore
import Synchronization

extension TestAPIServer {
    /// Answers one request, on its connection's thread.
    func answer(_ request: TestRequest, _ responder: Responder) {
        let behaviour = state.withLock { state in
            state.requests.append(request)
            return state.behaviour
        }
        let trouble = behaviour.trouble(request)
        let outlet = Outlet(responder, trouble)
        let codec = AnswerCodec(request, hasProtobuf: behaviour.hasProtobuf)
        switch trouble {
        case .hang: return
        case .status(let code, let reason, let retryAfter):
            return outlet.whole(
                code, AnswerCodec.json.status(code, reason: reason, "the test says \(reason)"), type: "application/json", retryAfter: retryAfter)
        case .line(let line):
            outlet.head(200, type: "application/json")
            outlet.body(Array((line + "\n").utf8))
            return outlet.end()
        case .emptyWatch where request.isWatch:
            outlet.head(200, type: codec.type(isWatch: true))
            return outlet.end()
        case nil, .silence, .cut, .slow, .emptyWatch: break
        }
        if let tokens = behaviour.tokens, tokens[request.token] == nil {
            return fail(outlet, codec, 401, "Unauthorized", "Unauthorized")
        }
        let user = behaviour.tokens?[request.token] ?? "system:anonymous"
        switch (request.method, request.path) {
        case ("GET", "/version"):
            outlet.whole(200, Array(#"{"major":"1","minor":"33","gitVersion":"v1.33.0-test"}"#.utf8), type: "application/json")
        case ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews") where behaviour.hasSelfSubjectReview:
            outlet.whole(
                201,
                Array(
                    "{\"kind\":\"SelfSubjectReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{\"userInfo\":{\"username\":\(quoted(user)),\"groups\":[\"system:authenticated\"]}}}"
                        .utf8), type: "application/json")
        case ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"): review(request, behaviour, outlet)
        case ("GET", _): read(request, behaviour, user, codec, outlet)
        case ("POST", _), ("PUT", _), ("DELETE", _):
            if !write(request, outlet) { fail(outlet, codec, 404, "NotFound", "the server could not find the requested resource") }
        default: fail(outlet, codec, 404, "NotFound", "the server could not find the requested resource")
        }
    }

    private func fail(_ outlet: Outlet, _ codec: AnswerCodec, _ code: Int, _ reason: String, _ message: String, causes: [String] = []) {
        outlet.whole(code, codec.status(code, reason: reason, message, causes: causes), type: codec.type(isWatch: false))
    }

    private func isDenied(_ behaviour: Behaviour, _ verb: String, _ resource: TestObject.Resource, _ namespace: String) -> Bool {
        behaviour.denials.contains { denial in
            (denial.verb ?? verb) == verb && (denial.resource ?? resource) == resource && (denial.namespace ?? namespace) == namespace
        }
    }

    /// SelfSubjectAccessReview. Its attributes are found by their names: nothing else in the body has them.
    private func review(_ request: TestRequest, _ behaviour: Behaviour, _ outlet: Outlet) {
        let text = String(decoding: request.body, as: UTF8.self)
        func value(_ name: String) -> String {
            guard let found = text.range(of: "\"\(name)\":\"") else { return "" }
            return String(text[found.upperBound...].prefix { $0 != "\"" })
        }
        let resource = TestObject.Resource(rawValue: value("resource"))
        let allowed = resource.map { !isDenied(behaviour, value("verb"), $0, value("namespace")) && value("group") == $0.group } ?? false
        outlet.whole(
            201,
            Array(
                "{\"kind\":\"SelfSubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"status\":{\"allowed\":\(allowed)\(allowed ? "" : ",\"reason\":\"no RBAC policy matched\"")}}"
                    .utf8), type: "application/json")
    }

    private func read(_ request: TestRequest, _ behaviour: Behaviour, _ user: String, _ codec: AnswerCodec, _ outlet: Outlet) {
        guard let resource = request.resource, request.path.hasPrefix(resource == .services ? "/api/v1/" : "/apis/discovery.k8s.io/v1/")
        else { return fail(outlet, codec, 404, "NotFound", "the server could not find the requested resource") }
        let verb = request.isWatch ? "watch" : "list"
        if isDenied(behaviour, verb, resource, request.namespace ?? "") {
            let scope = request.namespace.map { "in the namespace \"\($0)\"" } ?? "at the cluster scope"
            return fail(
                outlet, codec, 403, "Forbidden",
                "\(resource.rawValue)\(resource.group.isEmpty ? "" : "." + resource.group) is forbidden: User \"\(user)\" cannot \(verb) resource \"\(resource.rawValue)\" in API group \"\(resource.group)\" \(scope)"
            )
        }
        if request.isWatch { watch(request, resource, behaviour, codec, outlet) } else { list(request, resource, behaviour, codec, outlet) }
    }

    // MARK: Lists

    private func list(
        _ request: TestRequest, _ resource: TestObject.Resource, _ behaviour: Behaviour, _ codec: AnswerCodec, _ outlet: Outlet
    ) {
        if isTooLarge(request, codec, outlet) { return }
        let limit = min(request.query["limit"].flatMap { Int($0) }.map { $0 == 0 ? Int.max : $0 } ?? .max, behaviour.pageLimit)
        let selector = ObjectSelector(labels: request.query["labelSelector"] ?? "", fields: request.query["fieldSelector"] ?? "")
        let answer: [UInt8]? = state.withLock { state in
            var rest: ArraySlice<TestObject>
            let version: UInt64
            if let token = request.query["continue"], !token.isEmpty {
                guard let page = state.pages[token] else { return nil }
                (version, rest) = page
            } else {
                version = state.version
                rest = state.matching(resource, request.namespace, selector)[...]
            }
            let items = rest.prefix(limit)
            rest = rest.dropFirst(limit)
            var next = ""
            if !rest.isEmpty {
                next = "page-\(state.nextID)"
                state.nextID += 1
                state.pages[next] = (version, rest)
            }
            return codec.list(resource, items, version: version, next: next, remaining: rest.count)
        }
        guard let answer else {
            return fail(outlet, codec, 410, "Expired", "The provided continue parameter is too old to display a consistent list result")
        }
        outlet.whole(200, answer, type: codec.type(isWatch: false))
    }

    /// A version that we have not come to yet.
    private func isTooLarge(_ request: TestRequest, _ codec: AnswerCodec, _ outlet: Outlet) -> Bool {
        guard let wanted = request.query["resourceVersion"].flatMap({ UInt64($0) }), wanted > state.withLock({ $0.version }) else {
            return false
        }
        fail(
            outlet, codec, 504, "Timeout", "Timeout: Too large resource version: \(wanted), current: \(version)",
            causes: ["ResourceVersionTooLarge"])
        return true
    }

    // MARK: Watches

    private func watch(
        _ request: TestRequest, _ resource: TestObject.Resource, _ behaviour: Behaviour, _ codec: AnswerCodec, _ outlet: Outlet
    ) {
        let streams = request.query["sendInitialEvents"] == "true"
        if streams, !behaviour.hasWatchList {
            return fail(
                outlet, codec, 422, "Invalid",
                "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            )
        }
        if isTooLarge(request, codec, outlet) { return }
        let from = request.query["resourceVersion"].flatMap { UInt64($0) } ?? 0
        let selector = ObjectSelector(labels: request.query["labelSelector"] ?? "", fields: request.query["fieldSelector"] ?? "")
        let watch = Watch(
            resource: resource, namespace: request.namespace, selector: selector, codec: codec,
            wantsBookmarks: request.query["allowWatchBookmarks"] == "true", outlet: outlet)
        // Registered and told its past in one step: no event is missed or told twice.
        let id: UInt64? = state.withLock { state in
            if !streams, from > 0, from < state.compacted {
                if behaviour.expiresByStatus {
                    fail(outlet, codec, 410, "Expired", "too old resource version: \(from) (\(state.compacted))")
                } else {
                    outlet.head(200, type: codec.type(isWatch: true))
                    outlet.body(codec.error(410, reason: "Expired", "too old resource version: \(from) (\(state.compacted))"))
                    outlet.end()
                }
                return nil
            }
            outlet.head(200, type: codec.type(isWatch: true))
            if streams || from == 0 {
                var batch: [UInt8] = []
                for object in state.matching(resource, request.namespace, selector) {
                    batch += codec.event("ADDED", object)
                    if batch.count > 65_536 {
                        outlet.body(batch)
                        batch = []
                    }
                }
                if streams { batch += codec.bookmark(resource, version: state.version, endsInitialEvents: true) }
                outlet.body(batch)
            } else {
                for event in state.log where event.version > from && watch.isFor(event.object) {
                    outlet.body(codec.event(event.type, event.object))
                }
            }
            let id = state.nextID
            state.nextID += 1
            state.watches[id] = watch
            return id
        }
        guard let id else { return }
        let bookmarks = outlet.eventLoop.scheduleRepeatedTask(
            initialDelay: .milliseconds(behaviour.bookmarkMilliseconds), delay: .milliseconds(behaviour.bookmarkMilliseconds)
        ) { [self] _ in
            state.withLock { state in
                guard let watch = state.watches[id], watch.wantsBookmarks else { return }
                watch.outlet.body(codec.bookmark(resource, version: state.version, endsInitialEvents: false))
            }
        }
        let seconds = request.query["timeoutSeconds"].flatMap { Int64($0) } ?? 1_800
        let ends = outlet.eventLoop.scheduleTask(in: .seconds(seconds)) { [self] in
            state.withLock { $0.watches[id] = nil }
            outlet.end()
        }
        outlet.onClose { [self] in
            bookmarks.cancel()
            ends.cancel()
            state.withLock { $0.watches[id] = nil }
        }
    }
}

extension TestAPIServer.State {
    func matching(_ resource: TestObject.Resource, _ namespace: String?, _ selector: ObjectSelector) -> [TestObject] {
        objects.values.filter { $0.key.resource == resource && (namespace == nil || $0.key.namespace == namespace) && selector.fits($0) }
            .sorted { $0.key < $1.key }
    }
}
