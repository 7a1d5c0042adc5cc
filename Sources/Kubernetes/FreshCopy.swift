/// A list that is being read: its objects in the order in which they came, each once.
struct FreshCopy: Sendable {
    private var objects: [WatchedObject?] = []
    private var places: [ObjectKey: Int] = [:]
    /// Those that could not be read: the copy's own version of them stays.
    private var unreadable: Set<ObjectKey> = []

    /// A later one of the same name replaces an earlier one: a page may be read twice.
    mutating func put(_ object: WatchedObject) {
        let key = object.key
        unreadable.remove(key)
        if let place = places[key] {
            objects[place] = object
        } else {
            places[key] = objects.count
            objects.append(object)
        }
    }

    mutating func remove(_ key: ObjectKey) {
        unreadable.remove(key)
        if let place = places.removeValue(forKey: key) { objects[place] = nil }
    }

    mutating func keep(_ key: ObjectKey) {
        remove(key)
        unreadable.insert(key)
    }

    /// What is different, given the objects that are known; these are brought up to date. O(objects).
    consuming func changes(to known: inout Set<ObjectKey>) -> [ObjectChange] {
        var changes: [ObjectChange] = []
        changes.reserveCapacity(places.count)
        for case .some(let object) in objects { changes.append(.upserted(object)) }
        // Sorted, so that the same list gives the same order in every process.
        for key in known.filter({ places[$0] == nil && !unreadable.contains($0) }).sorted() { changes.append(.deleted(key)) }
        known = Set(places.keys).union(unreadable.intersection(known))
        return changes
    }
}
