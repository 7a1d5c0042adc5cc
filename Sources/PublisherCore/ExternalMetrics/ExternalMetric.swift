import Model
import Wire

/// What an autoscaler can ask for, by the name that it has in /metrics, too.
public enum ExternalMetric: String, CaseIterable, Sendable, Hashable {
    case demand = "leasehold_demand"
    case queueDepth = "leasehold_queue_depth"
    case queueOldest = "leasehold_queue_oldest_seconds"

    /// Of one pool, in thousandths.
    public func thousandths(of state: PoolState) -> Int64 {
        switch self {
        case .demand: Int64(state.demand) * 1000
        case .queueDepth: Int64(state.queued) * 1000
        case .queueOldest: max(0, state.oldestWait.milliseconds)
        }
    }

    public var help: String {
        switch self {
        case .demand: "Jobs that have a worker plus jobs that wait for one: the number to scale on."
        case .queueDepth: "Jobs that wait for a worker."
        case .queueOldest: "How long the job that has waited longest waits, in seconds."
        }
    }

    /// A Kubernetes quantity: `12`, or `1500m` for 1.5.
    public static func quantity(thousandths: Int64) -> String {
        thousandths % 1000 == 0 ? String(thousandths / 1000) : "\(thousandths)m"
    }
}

/// RFC 3339 in UTC with whole seconds, as Kubernetes writes times; `seconds` since 1970, from the year 0 to 9999.
func rfc3339(_ seconds: Int64) -> String {
    let seconds = min(max(seconds, -62_167_219_200), 253_402_300_799)
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let ofDay = seconds - days * 86_400
    // Hinnant, "chrono-compatible low-level date algorithms": years begin in March.
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthIndex = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthIndex + 2) / 5 + 1
    let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    func padded(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }
    return
        "\(padded(year, 4))-\(padded(month, 2))-\(padded(day, 2))T\(padded(ofDay / 3600, 2)):\(padded(ofDay / 60 % 60, 2)):\(padded(ofDay % 60, 2))Z"
}
