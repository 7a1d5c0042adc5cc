import AssetCore
import Foundation

/// Listings in front of a store behind: what it has, with what is written here and not there yet, without what is to be removed there.
extension TierService {
    /// Fills the page. Asks for as many pages of the store behind as that takes; throws `serviceUnavailable` when it is away, because a
    /// listing with holes would look like a whole one.
    func list(_ page: Listing, in bucket: String) async throws -> (page: Listing, objects: [ListedObject]) {
        let root = client.place.key(of: BackedName(bucket: bucket))
        var page = page
        var objects: [ListedObject] = []
        var marker = page.next.map { Self.marker(before: $0, page) } ?? []
        var from = page.next ?? []
        while page.next != nil {
            counters.lists.add()
            let (prefix, delimiter, after) = (root + page.prefix, page.delimiter, marker.isEmpty ? [] : root + marker)
            let most = min(Listing.mostPerPage, page.most + 2)
            // Looked at before and after: what arrives there between the store's answer and our look is in neither.
            let first = from
            let early = try await blocking { [store] in try store.overlay(bucket, from: first, to: nil) }
            let behind = try await asking { try await client.list(prefix: prefix, delimiter: delimiter, after: after, most: most) }
            let rows = behind.rows.filter { $0.key.count > root.count && $0.key.starts(with: root) }.map { row in
                var row = row
                row.key.removeFirst(root.count)
                return row
            }
            let to = behind.next.map { Array($0.dropFirst(root.count)) }
            // Behind a common prefix comes what is not below it.
            let isPrefix = to != nil && rows.last?.etag == nil && rows.last?.key == to
            let (start, end) = (from, isPrefix ? to.map { $0 + [0xff] } : to)
            let late = try await blocking { [store] in try store.overlay(bucket, from: start, to: end) }
            let overlay = Self.join(early, late, upTo: end)
            let copies = rows.compactMap { row in row.etag.map { (key: row.key, backing: $0) } }
            let own = try await blocking { [store] in try store.etags(of: copies, in: bucket) }
            Self.merge(rows, overlay, own, into: &page, &objects)
            guard let to else {
                page.end()
                break
            }
            marker = to
            from = to + [0]
        }
        return (page, objects)
    }

    /// The seek position as a marker: keys behind it, and not what a common prefix rolls up, begin there.
    private static func marker(before next: [UInt8], _ page: Listing) -> [UInt8] {
        if next == page.prefix { return [] }
        // The first key after K is K and a zero.
        if next.last == 0 { return Array(next.dropLast()) }
        // The successor of a common prefix: the prefix itself as the marker stands for all that it begins.
        var prefix = next
        guard let last = prefix.last, last > 0 else { return [] }
        prefix[prefix.count - 1] = last - 1
        return prefix
    }

    private typealias Overlay = (written: [ListedObject], removed: Set<[UInt8]>)

    /// What was to be told to the store at either look; where they differ, the later one is right.
    private static func join(_ early: Overlay, _ late: Overlay, upTo end: [UInt8]?) -> Overlay {
        let lately = Set(late.written.map(\.key.bytes))
        let written = early.written.filter { object in
            let key = object.key.bytes
            return !lately.contains(key) && !late.removed.contains(key) && end.map { !$0.lexicographicallyPrecedes(key) } ?? true
        }
        return (
            (late.written + written).sorted { $0.key.bytes.lexicographicallyPrecedes($1.key.bytes) },
            late.removed.union(early.removed.subtracting(lately))
        )
    }

    private static func merge(
        _ rows: [BackingPage.Row], _ overlay: (written: [ListedObject], removed: Set<[UInt8]>),
        _ own: [[UInt8]: (etag: String, modified: Timestamp)], into page: inout Listing, _ objects: inout [ListedObject]
    ) {
        var written = overlay.written[...]
        func take(_ key: [UInt8], _ object: @autoclosure () -> ListedObject) {
            guard let next = page.next, !key.lexicographicallyPrecedes(next) else { return }
            if page.take(ObjectKey(unchecked: key)) { objects.append(object()) }
        }
        for row in rows {
            while let first = written.first, first.key.bytes.lexicographicallyPrecedes(row.key) {
                take(first.key.bytes, first)
                written.removeFirst()
            }
            if let first = written.first, first.key.bytes == row.key {
                take(first.key.bytes, first)
                written.removeFirst()
                continue
            }
            if overlay.removed.contains(row.key) { continue }
            let mine = own[row.key]
            take(
                row.key,
                ListedObject(
                    key: ObjectKey(unchecked: row.key), size: row.size, etag: mine?.etag ?? row.etag ?? "", modified: mine?.modified ?? row.modified))
        }
        for object in written { take(object.key.bytes, object) }
    }

    /// Names of the buckets that the store behind has.
    func buckets() async throws -> [String] {
        counters.lists.add()
        let prefix = client.place.prefix
        var (names, marker) = ([String](), [UInt8]())
        while true {
            let after = marker
            let page = try await asking { try await client.list(prefix: prefix, delimiter: Array("/".utf8), after: after) }
            for row in page.rows {
                guard let name = client.place.name(of: row.key), BucketName.isValid(name.bucket) else { continue }
                names.append(name.bucket)
            }
            guard let next = page.next else { return names }
            marker = next
        }
    }

    /// Whether the store behind has anything in a bucket, beside its mark and what is to be removed.
    func isEmpty(_ bucket: String) async throws -> Bool {
        let (page, objects) = try await list(Listing(prefix: [], delimiter: [], after: [], most: 1), in: bucket)
        return objects.isEmpty && page.commonPrefixes.isEmpty
    }
}
