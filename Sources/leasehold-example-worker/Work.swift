/// What one request asks this worker to do, read from its query.
struct Work: Sendable, Equatable {
    /// How the end of the response is told.
    enum Framing: Sendable, Equatable {
        case contentLength, chunked, untilClose
    }

    /// A way to misbehave.
    enum Fault: Sendable, Equatable {
        /// The process ends in the middle of the response.
        case crash
        /// The process ends before the first byte of the response.
        case crashBefore
        /// No answer, ever.
        case hang
        /// `Leasehold-Busy: 1` with this status, before the body is read. Not a job.
        case refuse(status: Int)
        /// The connection ends after so many bytes of the body.
        case cut(after: Int)
    }

    var milliseconds = 0
    var bytes = 0
    var framing = Framing.contentLength
    var fault: Fault?
    var status = 200
    /// The work goes on when the caller has left.
    var lingers = true
    /// The head at once, then the body spread over `milliseconds`.
    var dribbles = false
    /// The answer does not wait for the request's body.
    var isEarly = false
    /// A cut is a reset and not an orderly end.
    var resets = false
    /// The body of the response is the head of the request, as it arrived.
    var showsHead = false
    /// A trailer field after a chunked body.
    var hasTrailer = false

    /// A parameter that is unknown or has a value that it cannot have.
    struct BadParameter: Error, Equatable, CustomStringConvertible {
        var text: String
        var description: String { "bad parameter '\(text)'" }
    }

    /// Applies `name=value&…` on top of what is already set.
    mutating func apply(query: some StringProtocol) throws(BadParameter) {
        for parameter in query.split(separator: "&") {
            let parts = parameter.split(separator: "=", maxSplits: 1)
            let value = parts.count == 2 ? String(parts[1]) : "1"
            guard let name = parts.first, let number = Int(value), number >= 0, set(String(name), to: number) else {
                throw BadParameter(text: String(parameter))
            }
        }
    }

    /// False if there is no such parameter.
    private mutating func set(_ name: String, to number: Int) -> Bool {
        let isOn = number != 0
        switch name {
        case "ms": milliseconds = min(number, 86_400_000)
        case "bytes": bytes = number
        case "status" where (200...599).contains(number): status = number
        case "chunked": framing = isOn ? .chunked : .contentLength
        case "until-close": framing = isOn ? .untilClose : .contentLength
        case "trailer": hasTrailer = isOn
        case "linger": lingers = isOn
        case "slow": dribbles = isOn
        case "early": isEarly = isOn
        case "head": showsHead = isOn
        case "reset": resets = isOn
        case "crash": fault = isOn ? .crash : nil
        case "crash-before": fault = isOn ? .crashBefore : nil
        case "hang": fault = isOn ? .hang : nil
        case "refuse": fault = isOn ? .refuse(status: 503) : nil
        case "busy409": fault = isOn ? .refuse(status: 409) : nil
        case "cut-after": fault = .cut(after: number)
        default: return false
        }
        return true
    }
}
