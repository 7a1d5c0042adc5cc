import Model

/// The part of a pool's configuration that decides how many local workers run, and on which ports.
public struct WorkerPool: Hashable, Sendable {
    public var id: PoolID
    public var name: String
    /// The program and its arguments as configured, `{port}` not yet replaced. A worker of another command is replaced by and by.
    public var command: [String]
    /// One worker per port; ascending, each once.
    public var ports: [UInt16]
    /// Workers that run whatever the demand.
    public var min: Int
    /// Worker processes that ever run at once, those that are being stopped included.
    public var max: Int
    /// How long a worker has had no lease before it is stopped.
    public var idle: Duration
    /// Jobs that one worker runs at once.
    public var slots: Int
    /// A worker is used for one lease only (`reuse: never`), so one that was drained is never taken back.
    public var isSingleUse: Bool
    /// From the start of a process until it is given up because its port does not accept.
    public var startTimeout = Duration.seconds(60)
    /// From SIGTERM to SIGKILL.
    public var stopTimeout = Duration.seconds(10)
    /// The pause before a crashed worker starts again: `firstBackOff`, doubling to `mostBackOff`.
    public var firstBackOff = Duration.milliseconds(250)
    public var mostBackOff = Duration.seconds(30)

    public init(
        name: String, command: [String], ports: [UInt16], min: Int = 0, max: Int, idle: Duration = .seconds(30), slots: Int = 1,
        isSingleUse: Bool = false
    ) {
        self.id = PoolID(name: name)
        self.name = name
        self.command = command
        self.ports = ports
        self.min = Swift.max(0, min)
        self.max = Swift.max(self.min, max)
        self.idle = idle
        self.slots = Swift.max(1, slots)
        self.isSingleUse = isSingleUse
    }

    /// O(log n).
    func has(_ port: UInt16) -> Bool {
        var low = 0
        var high = ports.count
        while low < high {
            let middle = (low + high) / 2
            if ports[middle] < port { low = middle + 1 } else { high = middle }
        }
        return low < ports.count && ports[low] == port
    }

    /// Of the command: tells a worker started by an earlier configuration from one of this. 64-bit FNV-1a.
    public var fingerprint: UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for argument in command {
            for byte in argument.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
            hash = (hash ^ 0xff) &* 0x0000_0100_0000_01b3  // no UTF-8 text has this byte: ["ab"] and ["a", "b"] differ
        }
        return hash
    }
}

/// Where a worker runs: a pool's port on this machine's loopback address.
public struct WorkerPlace: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var pool: PoolID
    public var port: UInt16

    public init(pool: PoolID, port: UInt16) {
        self.pool = pool
        self.port = port
    }

    public static func < (a: WorkerPlace, b: WorkerPlace) -> Bool { (a.pool, a.port) < (b.pool, b.port) }
    public var description: String { "port \(port)" }
}

/// One process for certain: a process id alone is reused.
public struct ProcessIdentity: Hashable, Sendable, CustomStringConvertible {
    public var pid: Int32
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    public var startTime: UInt64

    public init(pid: Int32, startTime: UInt64) {
        self.pid = pid
        self.startTime = startTime
    }

    public var description: String { "\(pid).\(startTime)" }
}

/// How a process ended.
public enum ExitStatus: Hashable, Sendable, CustomStringConvertible {
    case code(Int32)
    case signal(Int32)
    /// It was not our child (found again after our own restart), so nobody told us.
    case unknown

    public var description: String {
        switch self {
        case .code(let code): "exit code \(code)"
        case .signal(let signal): "signal \(signal)"
        case .unknown: "unknown"
        }
    }
}
