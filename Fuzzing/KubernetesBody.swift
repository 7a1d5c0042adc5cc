import Kubernetes
import Model

// The body of an API server's answer, of any bytes: the machine that asked says the same however it is cut, and keeps its invariants.

/// What a machine made of a body.
private struct Reading: Equatable {
    var changes: [ObjectChange] = []
    var relists: [ObjectUpdate] = []
    var requests: [String] = []
    var version = ""
    var objects = 0
    var problem: ReflectorProblem?
}

/// The first byte says what is asked for and what is answered.
private struct Setting {
    var isList: Bool
    var head: ResponseHead
    var resource: WatchScope.Resource
    var isListed: Bool

    init(_ byte: UInt8) {
        isList = byte & 1 != 0
        let isProtobuf = byte & 2 != 0
        let type = isProtobuf ? "application/vnd.kubernetes.protobuf" : "application/json"
        head = ResponseHead(status: byte & 4 != 0 ? 503 : 200, contentType: isList ? type : type + ";stream=watch")
        resource = byte & 8 != 0 ? .services : .endpointSlices
        isListed = byte & 16 != 0
    }
}

private func read(_ bytes: [UInt8], _ setting: Setting, pieces size: Int) -> Reading {
    var reading = Reading()
    var reflector = Reflector(WatchScope(setting.resource, namespace: "shop"), seed: 1)
    var now = Instant(nanoseconds: 1_000_000_000_000)
    var id = APIRequest.ID(rawValue: 0)
    func handle(_ input: ReflectorInput) {
        var actions: [ReflectorAction] = []
        reflector.handle(input, at: now, &actions)
        reflector.checkInvariants()
        for action in actions {
            switch action {
            case .request(let request):
                id = request.id
                reading.requests.append(request.target)
            case .apply(let update):
                switch update.origin {
                case .events: reading.changes += update.changes
                case .relist: reading.relists.append(update)
                }
            case .cancel, .renewCredentials, .health, .log: break
            }
        }
    }
    handle(.started)
    if setting.isList || setting.isListed {
        handle(.responded(id, ResponseHead(status: 422)))
        handle(.ended(id))
    }
    if setting.isListed, !setting.isList {
        handle(.responded(id, ResponseHead(status: 200)))
        handle(.received(id, Array(#"{"metadata":{"resourceVersion":"7"},"items":[]}"#.utf8)))
        handle(.ended(id))
    }
    handle(.responded(id, setting.head))
    let asked = id
    var start = 0
    while start < bytes.count {
        let end = min(bytes.count, start + size)
        handle(.received(asked, Array(bytes[start..<end])))
        start = end
    }
    handle(.ended(asked))
    // Through whatever pause it made, to its next request.
    for _ in 0..<4 {
        now = max(now, min(reflector.nextWake, now + .seconds(3600)))
        handle(.wokeUp)
    }
    let report = reflector.report
    (reading.version, reading.objects, reading.problem) = (report.resourceVersion, report.objects, report.problem)
    return reading
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 0 else { return 0 }
    let setting = Setting(start[0])
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let whole = read(bytes, setting, pieces: .max / 2)
    for size in [1, 7] {
        check(read(bytes, setting, pieces: size) == whole, "cut differently, it reads differently")
    }
    return 0
}
