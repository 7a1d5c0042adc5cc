import AssetCore
import Model
import ServiceKit

/// What the HTTP cache has done since its start: one plain value.
struct CacheFigures: Sendable {
    /// Answered from what is stored, without asking the origin first.
    var hits: UInt64 = 0
    /// Of these, answered although stale.
    var staleHits: UInt64 = 0
    /// Answered from what is stored after the origin said that it holds.
    var validated: UInt64 = 0
    var misses: UInt64 = 0
    /// Waited for somebody else's question.
    var collapsed: UInt64 = 0
    /// Answered for one caller only.
    var passed: UInt64 = 0
    /// Requests to origins.
    var originRequests: UInt64 = 0
    var originFailures: UInt64 = 0
    /// Of the requests, those to which no head of a response came.
    var originUnanswered: UInt64 = 0
    /// Answered at once, because their host could not be reached a moment before.
    var deadHosts: UInt64 = 0
    /// Responses that were kept, and those that began to be and could not.
    var stored: UInt64 = 0
    var notStored: UInt64 = 0
    /// Refused targets, loops, wrong URLs.
    var refused: UInt64 = 0
    /// Body bytes to callers that no origin had to send.
    var bytesSaved: UInt64 = 0
    var bytesOut: UInt64 = 0
    /// Stored responses removed because a request changed what they were of, or by an operator.
    var invalidated: UInt64 = 0
    /// From a request to the head of its response.
    var originLatency = LatencyHistogram()
    var hosts = TopHosts()

    /// For `show process`.
    var counters: [String: UInt64] {
        [
            "cache-hits": hits, "cache-hits-stale": staleHits, "cache-validated": validated, "cache-misses": misses,
            "cache-collapsed": collapsed, "cache-passed": passed, "cache-refused": refused, "cache-stored": stored,
            "cache-not-stored": notStored, "cache-bytes-saved": bytesSaved, "cache-bytes-out": bytesOut,
            "cache-invalidated": invalidated, "origin-requests": originRequests, "origin-failures": originFailures, "origin-dead": deadHosts,
        ]
    }

    /// For the publisher.
    func tell(_ round: inout VitalsRound) {
        for (result, count) in [
            ("hit", hits - staleHits), ("stale", staleHits), ("validated", validated), ("miss", misses), ("collapsed", collapsed),
            ("passed", passed), ("refused", refused),
        ] { round.count(.cacheHTTP, result, count) }
        round.count(.cacheSaved, bytesSaved)
        round.count(.cacheSent, bytesOut)
        round.count(.cacheOriginRequests, "answered", originLatency.count)
        round.count(.cacheOriginRequests, "failed", originUnanswered)
        round.histogram(.cacheOrigin, value: originLatency)
        for row in hosts.all {
            round.gauge(.cacheHostRequests, row.host, value: Double(row.requests))
            round.gauge(.cacheHostHits, row.host, value: Double(row.hits) / Double(max(1, row.requests)))
        }
    }
}
