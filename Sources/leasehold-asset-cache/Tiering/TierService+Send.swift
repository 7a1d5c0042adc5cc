import AssetCore

/// What goes to the store behind: at once, in a writer's turn, or from the queue.
extension TierService {
    /// Puts a body there and waits until it is. Within a turn, in write-through.
    func put(_ name: BackedName, _ fields: [(String, String)], _ source: BodySource?, isNew: Bool = false, replaces: String? = nil) async throws -> String {
        var fields = fields
        if isNew { fields.append(("if-none-match", "*")) }
        if let replaces { fields.append(("if-match", "\"\(replaces)\"")) }
        let (key, all) = (client.place.key(of: name), fields)
        let etag = try await asking { try await client.put(key, all, source) }
        counters.uploads.add()
        counters.uploadedBytes.add(Int(source?.size ?? 0))
        return etag
    }

    func delete(_ name: BackedName) async throws {
        let key = client.place.key(of: name)
        try await asking { try await client.delete(key) }
        counters.deletes.add()
    }

    /// An order of the machine's: what is here of that name goes there.
    func send(_ name: BackedName) async {
        var outcome = UploadQueue.Outcome.done
        do {
            if let (generation, what) = try await blocking({ [store] in try store.sending(name) }) {
                let sent = try await send(name, what)
                try await blocking { [store] in try store.settle(name, generation: generation, sent) }
            }
        } catch {
            switch judge(error, "What is here cannot be sent to the store behind, trying again later") {
            case .away: outcome = .away
            case .holds, .kept, .head, .nothing, .noRoom, .overtaken, .refused: outcome = .refused
            }
        }
        step(.sent(name, outcome))
    }

    private func send(_ name: BackedName, _ what: Store.Sending) async throws -> (id: Int64, size: Int64, backing: String)? {
        let key = client.place.key(of: name)
        switch what {
        case .delete:
            try await client.delete(key)
            counters.deletes.add()
            return nil
        case .bucket:
            _ = try await client.put(key, [], nil)
            return nil
        case .put(let object, let fields):
            let source = try await blocking { [store, pool] in try BodySource(object.segments, store, pool) }
            let etag = try await client.put(key, fields, source)
            counters.uploads.add()
            counters.uploadedBytes.add(Int(source.size))
            return (object.id, object.size, etag)
        }
    }
}
