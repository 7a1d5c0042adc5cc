import Foundation
import Model
import Testing

private let document = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "docs/monitoring.md").path()
private let begin = "<!-- metrics: begin (made from the table in the code; `make docs` rewrites it) -->\n"
private let end = "<!-- metrics: end -->\n"

/// `docs/monitoring.md` says what the code tells.
@Suite struct MetricReference {
    /// With LEASEHOLD_RECORD set, the document is rewritten instead of checked.
    @Test func theDocumentHasEveryMetricWithItsLabelsAndSentence() throws {
        let text = try String(contentsOfFile: document, encoding: .utf8)
        let from = try #require(text.range(of: begin))
        let to = try #require(text.range(of: end))
        let tables = metricTables()
        if ProcessInfo.processInfo.environment["LEASEHOLD_RECORD"] != nil {
            let new = text[..<from.upperBound] + tables + text[to.lowerBound...]
            try String(new).write(toFile: document, atomically: true, encoding: .utf8)
        } else {
            #expect(String(text[from.upperBound..<to.lowerBound]) == tables)
        }
    }

    /// What documents and samples ask for exists.
    @Test(arguments: ["docs/monitoring.md", "deploy/prometheus/alerts.yaml"]) func everyNameThatIsAskedForIsAMetric(_ path: String) throws {
        let root = URL(filePath: document).deletingLastPathComponent().deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: path), encoding: .utf8)
        let names = Set(text.matches(of: #/leasehold_[a-z_]+/#).map { String($0.0) })
        #expect(!names.isEmpty)
        let known = Set(
            Metric.allCases.flatMap { metric in metric.kind == .histogram ? ["", "_bucket", "_sum", "_count"].map { metric.name + $0 } : [metric.name] })
        #expect(names.subtracting(known) == [])
    }
}

private func metricTables() -> String {
    var out = ""
    for origin in Metric.Origin.allCases {
        out += "\n### From \(origin.name)\n\n| metric | type | meaning |\n|---|---|---|\n"
        for metric in Metric.allCases where metric.origin == origin {
            let labels = metric.labels.isEmpty ? "" : "{\(metric.labels.joined(separator: ","))}"
            out += "| `\(metric.name)\(labels)` | \(metric.kind.name) | \(metric.help) |\n"
        }
    }
    return out + "\n"
}
