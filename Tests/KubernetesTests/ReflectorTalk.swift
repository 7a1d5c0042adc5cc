import Foundation
import Kubernetes
import Model

/// A reflector in conversation: what it asked for last, what it said, and the copy that its consumer has.
struct ReflectorTalk {
    var reflector: Reflector
    var now = Instant(nanoseconds: 1_000_000_000_000)
    /// Everything it did with the last input.
    var actions: [ReflectorAction] = []
    /// The request under way, if any.
    var request: APIRequest?
    var requests = 0
    var copy: [ObjectKey: WatchedObject] = [:]
    var health = ReflectorHealth.unknown(nil)
    var notices: [ReflectorNotice] = []

    init(_ scope: WatchScope = WatchScope(.endpointSlices, namespace: "shop"), seed: UInt64 = 1) {
        reflector = Reflector(scope, seed: seed)
    }

    /// One that has streamed its list, of slices with these names, at version 100.
    static func watching(_ names: [String] = ["a", "b"], seed: UInt64 = 1) -> ReflectorTalk {
        var talk = ReflectorTalk(seed: seed)
        talk.say(.started)
        talk.answer()
        talk.receive(names.map { event("ADDED", $0, 50) } + [bookmark(100, ends: true)])
        return talk
    }

    mutating func say(_ input: ReflectorInput) {
        actions = []
        reflector.handle(input, at: now, &actions)
        reflector.checkInvariants()
        for action in actions {
            switch action {
            case .request(let new):
                precondition(request == nil, "two requests under way")
                request = new
                requests += 1
            case .cancel(let id):
                precondition(request?.id == id, "what is cancelled is not under way")
                request = nil
            case .renewCredentials: break
            case .apply(let update):
                for change in update.changes {
                    switch change {
                    case .upserted(let object): copy[object.key] = object
                    case .deleted(let key): copy[key] = nil
                    }
                }
            case .health(let new): health = new
            case .log(let notice): notices.append(notice)
            }
        }
    }

    var id: APIRequest.ID { request?.id ?? APIRequest.ID(rawValue: 0) }

    mutating func answer(_ status: Int = 200, retryAfter: Duration? = nil, type: String = "application/json") {
        say(.responded(id, ResponseHead(status: status, contentType: type, retryAfter: retryAfter)))
    }

    mutating func receive(_ lines: [String]) { say(.received(id, Array(lines.joined(separator: "\n").utf8) + [10])) }

    mutating func receive(_ data: Data) { say(.received(id, [UInt8](data))) }

    mutating func end() {
        let id = id
        request = nil
        say(.ended(id))
    }

    /// A whole answer that is no success.
    mutating func refuse(_ status: Int, retryAfter: Duration? = nil, body: String = "") {
        answer(status, retryAfter: retryAfter)
        say(.received(id, Array(body.utf8)))
        end()
    }

    mutating func fail(_ kind: TransportFailure.Kind, _ detail: String = "it failed") {
        let id = id
        request = nil
        say(.failed(id, TransportFailure(kind, detail)))
    }

    mutating func pass(_ duration: Duration) {
        now = now + duration
        if now >= reflector.nextWake { say(.wokeUp) }
    }

    /// Lets the pause that it makes go by; how long that was.
    @discardableResult mutating func waitForRequest() -> Duration {
        let start = now
        for _ in 0..<10 where request == nil {
            now = max(now, reflector.nextWake)
            say(.wokeUp)
        }
        return now - start
    }

    var names: [String] { copy.keys.map(\.name).sorted() }
    var target: String { request?.target ?? "" }

    /// One of the query's values, as sent.
    func query(_ name: String) -> String? {
        target.split(separator: "?").last?.split(separator: "&").first { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.count + 1)) }
    }

    static func object(_ name: String, _ version: Int, address: String = "10.0.0.1") -> String {
        """
        {"metadata":{"name":"\(name)","namespace":"shop","resourceVersion":"\(version)","labels":{"kubernetes.io/service-name":"web"}},\
        "addressType":"IPv4","endpoints":[{"addresses":["\(address)"]}],"ports":[{"name":"http","port":80}]}
        """
    }

    static func event(_ type: String, _ name: String, _ version: Int) -> String {
        #"{"type":"\#(type)","object":\#(object(name, version))}"#
    }

    static func bookmark(_ version: Int, ends: Bool = false) -> String {
        let annotations = ends ? #","annotations":{"k8s.io/initial-events-end":"true"}"# : ""
        return #"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"\#(version)"\#(annotations)}}}"#
    }

    static func error(_ code: Int, _ reason: String) -> String {
        #"{"type":"ERROR","object":{"kind":"Status","code":\#(code),"reason":"\#(reason)","message":"\#(reason) it says"}}"#
    }

    static func page(_ names: [String], _ version: Int, next: String = "") -> String {
        #"{"metadata":{"resourceVersion":"\#(version)","continue":"\#(next)"},"items":[\#(names.map { object($0, 50) }.joined(separator: ","))]}"#
    }
}
