import Kubernetes

/// The manifests of a directory, file by file: which objects each holds, and whose version of an object counts.
///
/// An object that several files hold is taken from the last of them by name, as `kubectl apply -f DIRECTORY` would end;
/// when that file goes, the one before it counts again.
struct DirectoryFiles: Sendable {
    /// The last version of each file that could be read.
    private var good: [String: Manifest] = [:]
    /// Why the version of a file that is there now could not be read.
    private var problems: [String: String] = [:]
    /// The files that hold an object, in the order of their names. Never an empty list.
    private var holders: [ObjectID: [String]] = [:]

    func has(_ name: String) -> Bool { good[name] != nil || problems[name] != nil }

    /// Names of files, in order.
    var names: [String] { Set(good.keys).union(problems.keys).sorted() }

    /// Files whose present version could not be read, in the order of their names.
    var broken: [BrokenFile] {
        problems.sorted { $0.key < $1.key }.map { BrokenFile(name: $0.key, problem: $0.value, hasGoodVersion: good[$0.key] != nil) }
    }

    var hasBroken: Bool { !problems.isEmpty }

    /// Whether some file has never been read: what it holds is not known.
    var hasHole: Bool { problems.keys.contains { good[$0] == nil } }

    /// A new version of a file that could be read. Appends what about it deserves a word. O(objects in the file).
    mutating func load(_ name: String, _ manifest: Manifest, into merge: inout EndpointMerge, _ notices: inout [WatcherNotice]) {
        let old = good.updateValue(manifest, forKey: name)
        if problems.removeValue(forKey: name) != nil { notices.append(.fileMended(name)) }
        if !manifest.ignored.isEmpty, manifest.ignored != old?.ignored {
            notices.append(.ignored(file: name, kinds: Set(manifest.ignored.map(\.description)).sorted()))
        }

        let objects = manifest.objects
        let present = Set(objects.map(\.id))
        for object in old?.objects ?? [] where !present.contains(object.id) { release(object.id, by: name, &merge) }
        var seen: Set<ObjectID> = []
        for object in objects {
            if !seen.insert(object.id).inserted { notices.append(.repeated(object.id.description, files: [name])) }
            var list = holders[object.id] ?? []
            if !list.contains(name) {
                list.insert(name, at: list.firstIndex { $0 > name } ?? list.endIndex)
                holders[object.id] = list
                if list.count > 1 { notices.append(.repeated(object.id.description, files: list)) }
            }
            if list.last == name { merge.apply(object) }
        }
    }

    /// A version that could not be read: the last good one stays in force.
    mutating func markBroken(_ name: String, _ problem: String, _ notices: inout [WatcherNotice]) {
        guard problems.updateValue(problem, forKey: name) != problem else { return }
        notices.append(.fileBroken(BrokenFile(name: name, problem: problem, hasGoodVersion: good[name] != nil)))
    }

    /// The file is gone, and with it what it said. O(objects in it).
    mutating func remove(_ name: String, from merge: inout EndpointMerge) {
        problems[name] = nil
        for object in good.removeValue(forKey: name)?.objects ?? [] { release(object.id, by: name, &merge) }
    }

    /// Says everything to a merge that knows nothing. O(all objects).
    func replay(into merge: inout EndpointMerge) {
        for name in names {
            for object in good[name]?.objects ?? [] where holders[object.id]?.last == name { merge.apply(object) }
        }
    }

    private mutating func release(_ id: ObjectID, by name: String, _ merge: inout EndpointMerge) {
        // Not held: a file that repeats an object has released it already.
        guard var list = holders[id], let place = list.firstIndex(of: name) else { return }
        list.remove(at: place)
        holders[id] = list.isEmpty ? nil : list
        // If another file's version counted anyhow, saying it again changes nothing.
        if let heir = list.last, let object = good[heir]?.objects.last(where: { $0.id == id }) {
            merge.apply(object)
        } else {
            merge.remove(id)
        }
    }
}

/// A file that cannot be read as it is.
public struct BrokenFile: Hashable, Sendable {
    public var name: String
    /// Where and why, with the remedy.
    public var problem: String
    /// Whether an earlier version of it is in force.
    public var hasGoodVersion: Bool
}

/// An object of one of the kinds that are read.
private enum SourceObject {
    case slice(EndpointSlice)
    case service(Service)

    var id: ObjectID {
        switch self {
        case .slice(let slice): .slice(slice.key)
        case .service(let service): .service(service.key)
        }
    }
}

private enum ObjectID: Hashable, CustomStringConvertible {
    case slice(ObjectKey)
    case service(ObjectKey)

    var description: String {
        switch self {
        case .slice(let key): "EndpointSlice \(key)"
        case .service(let key): "Service \(key)"
        }
    }
}

extension Manifest {
    fileprivate var objects: [SourceObject] { slices.map(SourceObject.slice) + services.map(SourceObject.service) }
}

extension EndpointMerge {
    fileprivate mutating func apply(_ object: SourceObject) {
        switch object {
        case .slice(let slice): upsert(slice)
        case .service(let service): upsert(service)
        }
    }

    fileprivate mutating func remove(_ id: ObjectID) {
        switch id {
        case .slice(let key): removeSlice(key)
        case .service(let key): removeService(key)
        }
    }
}
