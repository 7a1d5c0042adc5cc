import TestKit

/// What kinds of sessions there are.
enum Kind: String, CaseIterable, Codable, Sendable {
    /// TCP both ways at an even pace.
    case tunnel
    /// TCP both ways, with readers that take a little at a time.
    case slowTunnel = "tunnel, slow"
    /// TCP both ways, with readers that look away for seconds while every buffer is full.
    case fullTunnel = "tunnel, full"
    case upgrade
    case downloadLength = "download, length"
    case downloadChunked = "download, chunked"
    case downloadToClose = "download, to close"
    case uploadLength = "upload, length"
    case uploadChunked = "upload, chunked"
    /// Short requests with pauses between them, on one connection.
    case keepAlive = "keep-alive"
    /// Leaves in the middle, while the worker goes on.
    case leaver
    case parked
    /// With a body that waits in the socket.
    case parkedBody = "parked, body"
    case parkedTCP = "parked, TCP"
    /// A local worker of the scaler's.
    case local

    var isTCP: Bool { [.tunnel, .slowTunnel, .fullTunnel, .parkedTCP].contains(self) }
    var isParked: Bool { [.parked, .parkedBody, .parkedTCP].contains(self) }
    /// Bytes both ways at the same time, each way with an end of its own.
    var isTunnel: Bool { [.tunnel, .slowTunnel, .fullTunnel, .upgrade].contains(self) }
    var isUpload: Bool { [.uploadLength, .uploadChunked, .parkedBody].contains(self) }
    var isDownload: Bool { [.downloadLength, .downloadChunked, .downloadToClose, .leaver].contains(self) }

    /// How many there are at a time, of 300: 200 live sessions and 100 parked callers.
    var share: Int {
        switch self {
        case .tunnel: 36
        case .slowTunnel, .downloadLength, .downloadChunked: 18
        case .fullTunnel: 10
        case .upgrade, .keepAlive: 28
        case .downloadToClose: 12
        case .uploadLength, .uploadChunked: 10
        case .leaver: 8
        case .parked: 50
        case .parkedBody: 25
        case .parkedTCP: 25
        case .local: 4
        }
    }
}

/// One session, as its seed has it.
struct Plan {
    let id: Int
    let kind: Kind
    let up: Pace
    let down: Pace
    /// Requests on the connection.
    let rounds: Int
    /// Between two requests.
    let idle: Int64
    /// How long a worker thinks before it answers.
    let work: Int64
    /// Who ends its stream first, in a tunnel.
    let callerEndsFirst: Bool
    /// When a leaver leaves, from its job's beginning.
    let leavesAfter: Int64
    let receiveBuffer: Int32?
    let sendBuffer: Int32?

    /// `scale` is about how many seconds a session lasts.
    init(_ id: Int, _ kind: Kind, scale: Double, using random: inout SeededGenerator) {
        func ms(_ range: ClosedRange<Int>) -> Int64 { Int64(Int.random(in: range, using: &random)) * 1_000_000 }
        func even() -> Pace {
            let burst = Int.random(in: 200...8000, using: &random)
            let interval = ms(40...160)
            let seconds = Double.random(in: 0.3...1.7, using: &random) * scale
            return Pace(total: max(1, Int(seconds * 1e9 / Double(interval) * Double(burst))), burst: burst, interval: interval)
        }
        func slow() -> Pace {
            let gulp = Int.random(in: 1000...6000, using: &random)
            let every = ms(20...40)
            let seconds = Double.random(in: 0.3...1.7, using: &random) * scale
            return Pace(total: max(1, Int(seconds * 1e9 / Double(every) * Double(gulp))), gulp: gulp, gulpEvery: every)
        }
        func full() -> Pace {
            let after = Int.random(in: 200_000...900_000, using: &random)
            return Pace(
                total: Int(Double(after) * scale * Double.random(in: 0.4...1, using: &random)), stallAfter: after, stall: ms(600...2000))
        }
        func small() -> Pace { Pace(total: Int.random(in: 0...6000, using: &random)) }
        func any() -> Pace {
            switch UInt8.random(in: 0..<4, using: &random) {
            case 0: slow()
            case 1: full()
            default: even()
            }
        }
        self.id = id
        self.kind = kind
        switch kind {
        case .tunnel, .upgrade: (up, down) = (even(), even())
        case .slowTunnel: (up, down) = (slow(), slow())
        case .fullTunnel: (up, down) = (full(), full())
        case .downloadLength, .downloadChunked, .downloadToClose, .leaver: (up, down) = (Pace(), any())
        case .uploadLength, .uploadChunked: (up, down) = (any(), small())
        case .keepAlive, .parked, .local: (up, down) = (Pace(), small())
        case .parkedBody: (up, down) = (Pace(total: Int.random(in: 1...60_000, using: &random)), small())
        case .parkedTCP: (up, down) = (Pace(total: Int.random(in: 1...30_000, using: &random)), small())
        }
        switch kind {
        case .keepAlive, .local: rounds = Int.random(in: 3...12, using: &random)
        case .downloadLength, .downloadChunked, .uploadLength, .uploadChunked: rounds = Int.random(in: 1...2, using: &random)
        case .parked, .parkedBody: rounds = Int.random(in: 1...3, using: &random)
        case .tunnel, .slowTunnel, .fullTunnel, .upgrade, .downloadToClose, .leaver, .parkedTCP: rounds = 1
        }
        idle = kind == .keepAlive ? ms(50...2500) : ms(0...30)
        work = kind.isParked ? ms(40...220) : kind == .leaver ? ms(200...900) : 0
        callerEndsFirst = Bool.random(using: &random)
        leavesAfter = ms(1...600)
        receiveBuffer = [.fullTunnel, .slowTunnel].contains(kind) ? 32 * 1024 : nil
        sendBuffer = kind.isParked ? nil : 128 * 1024
    }

    /// Where its request goes.
    func target(_ round: Int) -> String { "\(kind.isParked ? "/q" : "/s")/\(id)/\(round)" }
}
