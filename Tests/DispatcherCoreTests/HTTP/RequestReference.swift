import Foundation
import Model

@testable import DispatcherCore

/// A slow and simple reading of a request head, from text split into lines and regular expressions: what frames
/// and routes it, or nil when it is not valid. Written from the rules, without a look at the parser.
struct RequestReference: Equatable {
    var length: Int
    var framing: BodyFraming
    var host: String
    var target: String
    var keepsAlive: Bool

    init?(_ bytes: [UInt8]) {
        // Scalars, not characters: CR LF is one Character.
        let all = text(bytes)
        var head = all
        guard let end = all.range(of: "\r\n\r\n", options: .literal, range: all.index(all.startIndex, offsetBy: 0)..<all.endIndex) else {
            return nil
        }
        head = String(all[..<end.lowerBound])
        length = head.unicodeScalars.count + 4
        if head.unicodeScalars.starts(with: "\r\n".unicodeScalars) { head = String(head.unicodeScalars.dropFirst(2)) }
        guard length <= HTTPLimits.headBytes else { return nil }
        let lines = head.components(separatedBy: "\r\n")
        let start = #/([!\#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21\x22\x24-\x7e]+) HTTP/1\.([0-9])/#.matchingSemantics(.unicodeScalar)
        guard let line = lines[0].wholeMatch(of: start), line.1 != "CONNECT", line.1 != "TRACE" else { return nil }
        target = String(line.2)
        let isOld = line.3 == "0"
        let field = #/([!\#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*/#.matchingSemantics(.unicodeScalar)
        var values: [String: [String]] = [:]
        for text in lines.dropFirst() {
            guard let match = text.wholeMatch(of: field) else { return nil }
            values[match.1.lowercased(), default: []].append(String(match.2))
        }
        guard lines.count - 1 <= HTTPLimits.fields else { return nil }

        let hosts = values["host"] ?? []
        guard hosts.count == 1 || (isOld && hosts.isEmpty), hosts.allSatisfy({ Self.split($0) != nil }) else { return nil }
        host = hosts.first ?? ""
        if let absolute = target.wholeMatch(of: #/(?i)(https?)://([^/?]*).*/#) {
            guard let inTarget = Self.split(String(absolute.2)) else { return nil }
            let standard = absolute.1.lowercased() == "http" ? 80 : 443
            if let inField = hosts.first.flatMap(Self.split) {
                guard inField.host.lowercased() == inTarget.host.lowercased(), (inField.port ?? standard) == (inTarget.port ?? standard)
                else {
                    return nil
                }
            } else {
                host = String(absolute.2)
            }
        } else {
            guard target.hasPrefix("/") || (target == "*" && line.1 == "OPTIONS") else { return nil }
        }

        let lengths = values["content-length"] ?? []
        let codings = values["transfer-encoding"] ?? []
        guard lengths.count + codings.count <= 1 else { return nil }
        framing = .none
        if let text = lengths.first {
            guard text.wholeMatch(of: #/[0-9]{1,20}/#) != nil, let number = Int64(text), number <= 1 << 60 else { return nil }
            framing = .length(UInt64(number))
        }
        if let text = codings.first {
            guard text.lowercased() == "chunked", !isOld else { return nil }
            framing = .chunked
        }

        let options = (values["connection"] ?? []).flatMap { $0.components(separatedBy: ",") }
            .map { $0.trimmingCharacters(in: CharacterSet(charactersIn: " \t")).lowercased() }.filter { !$0.isEmpty }
        let token = #/[!\#$%&'*+\-.^_`|~0-9A-Za-z]+/#.matchingSemantics(.unicodeScalar)
        let named = options.filter {
            !["close", "keep-alive", "upgrade", "te", "connection", "proxy-connection", "http2-settings"].contains($0)
        }
        guard options.allSatisfy({ $0.wholeMatch(of: token) != nil }), named.count <= 32 else { return nil }
        for option in named {
            let folded = option.replacingOccurrences(of: "_", with: "-")
            if folded.hasPrefix("leasehold-") || folded.hasPrefix("x-forwarded-") { return nil }
            if ["host", "content-length", "transfer-encoding", "forwarded"].contains(option) { return nil }
        }
        keepsAlive = !options.contains("close") && (!isOld || options.contains("keep-alive"))
        guard (values["expect"] ?? []).allSatisfy({ $0.lowercased() == "100-continue" }) else { return nil }
        guard (values["leasehold-affinity"] ?? []).filter({ !$0.isEmpty }).count <= 1 else { return nil }
    }

    private static func split(_ authority: String) -> (host: String, port: Int?)? {
        let shape = #/([A-Za-z0-9\-._~]{1,255}|\[[0-9A-Fa-f:.]{1,45}\])(?::([0-9]{0,20}))?/#.matchingSemantics(.unicodeScalar)
        guard let match = authority.wholeMatch(of: shape) else { return nil }
        if match.1.hasPrefix("["), match.1.filter({ $0 == ":" }).count < 2 { return nil }
        guard let digits = match.2, !digits.isEmpty else { return (String(match.1), nil) }
        guard let port = Int(digits), port <= 65535 else { return nil }
        return (String(match.1), port)
    }
}
