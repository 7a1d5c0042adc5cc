import Kubernetes

/// The manifests of a directory, file by file: which objects each holds, and whose version of an object counts.
///
/// An object that several files hold is taken from the last of them by name, as `kubectl apply -f DIRECTORY` would end;
/// when that file goes, the one before it counts again.
struct DirectoryFiles: Sendable {
    /// What is known about one file.
    struct File: Sendable {
        /// The last version that could be read; nil when there has been none.
        var good: Manifest?
        /// Why the version that is there now could not be read.
        var problem: String?
    }

    private(set) var files: [String: File] = [:]
    /// The files that hold an object, in the order of their names. Never an empty list.
    private var holders: [ObjectID: [String]] = [:]

    /// Names of files, in order.
    var names: [String] { files.keys.sorted() }

    /// Files whose present version could not be read, in the order of their names.
    var broken: [BrokenFile] {
        files.compactMap { name, file in
            file.problem.map { BrokenFile(name: name, problem: $0, hasGoodVersion: file.good != nil) }
        }.sorted { $0.name < $1.name }
    }

    var hasBroken: Bool { files.values.contains { $0.problem != nil } }

    /// Whether some file has never been read: what it holds is not known.
    var hasHole: Bool { files.values.contains { $0.good == nil } }

    /// A new version of a file that could be read. Appends what about it deserves a word. O(objects in the file).
    mutating func load(_ name: String, _ manifest: Manifest, into merge: inout EndpointMerge, _ notices: inout [WatcherNotice]) {
        let old = files[name]
        files[name] = File(good: manifest)
        if old?.problem != nil { notices.append(.fileMended(name)) }
        if !manifest.ignored.isEmpty, manifest.ignored != old?.good?.ignored {
            notices.append(.ignored(file: name, kinds: Set(manifest.ignored.map(\.description)).sorted()))
        }

        let objects = manifest.objects
        let present = Set(objects.map(\.id))
        for object in old?.good?.objects ?? [] where !present.contains(object.id) { release(object.id, by: name, &merge) }
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
        var file = files[name] ?? File()
        if file.problem != problem { notices.append(.fileBroken(BrokenFile(name: name, problem: problem, hasGoodVersion: file.good != nil))) }
        file.problem = problem
        files[name] = file
    }

    /// The file is gone, and with it what it said. O(objects in it).
    mutating func remove(_ name: String, from merge: inout EndpointMerge) {
        guard let file = files.removeValue(forKey: name) else { return }
        for object in file.good?.objects ?? [] { release(object.id, by: name, &merge) }
    }

    /// Says everything to a merge that knows nothing. O(all objects).
    func replay(into merge: inout EndpointMerge) {
        for name in names {
            for object in files[name]?.good?.objects ?? [] where holders[object.id]?.last == name { merge.apply(object) }
        }
    }

    private mutating func release(_ id: ObjectID, by name: String, _ merge: inout EndpointMerge) {
        // Not held: a file that repeats an object has released it already.
        guard var list = holders[id], let place = list.firstIndex(of: name) else { return }
        let counted = place == list.count - 1
        list.remove(at: place)
        holders[id] = list.isEmpty ? nil : list
        guard counted else { return }
        if let heir = list.last, let object = files[heir]?.good?.objects.last(where: { $0.id == id }) {
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
