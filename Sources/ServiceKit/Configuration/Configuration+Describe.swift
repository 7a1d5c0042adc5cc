extension Configuration {
    /// What is in force, defaults applied. Read again as a file, it says the same.
    public func describe() -> ConfigurationValue { Self.schema.render(self) }

    /// Every key in the order of the reference.
    public static var keys: [ConfigurationKey] {
        schema.keys.flatMap(\.documentation).map { key in
            var key = key
            if !key.path.hasPrefix("pools[].") && !key.path.hasPrefix("listeners[].") { key.canHaveDefault = false }
            return key
        }
    }

    /// What differs from the configuration in force and can only change with a restart: `KEY: OLD → NEW`, in the order of
    /// the reference. Empty: the whole of it can be applied at run time.
    public func changesNeedingRestart(from old: Configuration) -> [String] {
        let before = Self.schema.restartValues(old, "")
        let after = Self.schema.restartValues(self, "")
        var changes: [String] = []
        let known = Dictionary(before, uniquingKeysWith: { first, _ in first })
        let wanted = Dictionary(after, uniquingKeysWith: { first, _ in first })
        // What stands in a list item that came or went is said by the list's own row.
        for (key, value) in after where known[key] != value && (known[key] != nil || !key.contains("[")) {
            changes.append("\(key): \(known[key]?.inline ?? "absent") → \(value.inline)")
        }
        for (key, value) in before where wanted[key] == nil && !key.contains("[") {
            changes.append("\(key): \(value.inline) → absent")
        }
        return changes
    }
}
