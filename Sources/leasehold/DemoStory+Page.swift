import Model
import ServiceKit

/// The third act: what workers fetch again and again comes from this node.
extension DemoStory {
    func actThree() throws {
        ledger.title("Act 3: the same page, twice")
        let cache = try waitFor("the asset cache to listen") { stage.assetCache() }
        let origin = stage.origin
        origin.start()
        let first = try load("http://\(origin.address)", through: cache)
        let cold = origin.current
        ledger.say(
            "A worker loads a page of \(DemoOrigin.assets) assets through the asset cache at \(cache): \(cold.requests) requests reach its web site, \(cold.bytes) bytes."
        )
        ledger.claim(
            "A page's first load asks its web site for everything, once",
            first.isWhole && cold.requests == DemoOrigin.assets + 1 && cold.bytes == first.bytes,
            "\(cold.requests) requests, \(cold.bytes) bytes")
        let again = try load("http://\(origin.address)", through: cache)
        let warm = origin.current
        let (asked, fetched) = (warm.requests - cold.requests, warm.bytes - cold.bytes)
        let counters = stage.process(.assetCache)?.counters ?? [:]
        ledger.claim(
            "A second load comes from the node",
            // The page itself says that it must be asked about; nothing else is.
            again.isWhole && again.bytes == first.bytes && asked == 1 && warm.revalidated == 1 && fetched == 0
                && (counters["cache-hits"] ?? 0) == UInt64(DemoOrigin.assets),
            "\(asked) request (304, still valid), \(fetched) bytes from the web site; \(again.bytes) bytes not fetched again")
    }

    /// The page and all that it names, each checked byte by byte. `isWhole`: nothing was missing or different.
    private func load(_ site: String, through cache: SocketAddress) throws -> (bytes: Int, isWhole: Bool) {
        let client = DemoClient(cache)
        defer { client.close() }
        let page = try client.get("\(site)/page")
        var (bytes, isWhole) = (page.body.count, page.isServed)
        let paths = String(decoding: page.body, as: UTF8.self).split(separator: "\n")
        isWhole = isWhole && paths.count == DemoOrigin.assets
        for (number, path) in paths.enumerated() {
            let asset = try client.get("\(site)\(path)")
            bytes += asset.body.count
            isWhole = isWhole && asset.isServed && asset.body == DemoOrigin.body(number)
        }
        return (bytes, isWhole)
    }
}
