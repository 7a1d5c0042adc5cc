import CLinux
import Wire

/// Who may connect to an edge: root, the listener's own user, and members of the group `leasehold-EDGE` where there is one.
///
/// The socket's mode says the same and is asked first, by the kernel; this holds where a mode was changed. Only the listener
/// checks: the connecting end sees in SO_PEERCRED who called listen(2), which under systemd is the manager.
struct EdgeMembers {
    private let own = geteuid()
    private let group: UInt32?

    init(_ edge: Edge) { group = Self.number(of: "leasehold-\(edge.name)") }

    func admits(_ link: Link) -> Bool {
        let uid = link.credentials.uid
        return uid == 0 || uid == own || group.map { link.peerGroups.contains($0) } ?? false
    }

    static func number(of group: String) -> UInt32? { UInt32(exactly: lh_group_id(group)) }
}

/// Who may ask on the control edge: root, the daemon's own user, and two groups.
struct Operators {
    enum Right { case look, change }

    /// May look: `show`.
    static let lookers = "leasehold-control"
    /// May change something.
    static let changers = "leasehold-admin"

    private let own = geteuid()
    private let looking = EdgeMembers.number(of: Self.lookers)
    private let changing = EdgeMembers.number(of: Self.changers)

    func may(_ right: Right, _ link: Link) -> Bool {
        let uid = link.credentials.uid
        if uid == 0 || uid == own { return true }
        let groups = link.peerGroups
        let mayChange = changing.map { groups.contains($0) } ?? false
        switch right {
        case .look: return mayChange || (looking.map { groups.contains($0) } ?? false)
        case .change: return mayChange
        }
    }
}

extension ControlRequest {
    var changesSomething: Bool {
        switch self {
        case .show: false
        case .drain, .drainIdle, .undrain, .quarantine, .pause, .resume: true
        case .assets(let order, _): !["stats", "list", "history", "get"].contains(order)
        }
    }
}
