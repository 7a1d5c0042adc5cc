extension PageFiles {
    static let styles = #"""
        :root {
          color-scheme: light dark;
          --ground: #fbfbfa; --card: #fff; --ink: #1b1f24; --soft: #59636e; --line: #d5d9de; --accent: #0b57b7;
          --free: #8fd0a0; --leased: #1f6fd6; --ending: #7a4fc9; --recovering: #2aa7b8; --quarantined: #d2361f; --draining: #c98a00; --unready: #7f8892;
          --warn: #8a5a00; --bad: #b3261e; --good: #1a6b36;
        }
        @media (prefers-color-scheme: dark) {
          :root:not([data-theme=light]) {
            --ground: #101418; --card: #181d23; --ink: #e7ebef; --soft: #9aa6b2; --line: #303842; --accent: #7fb4ff;
            --free: #3f8f59; --leased: #5b9dff; --ending: #b08cff; --recovering: #4fd0e0; --quarantined: #ff6a55; --draining: #f0b429; --unready: #454d56;
            --warn: #f0b429; --bad: #ff8a7a; --good: #7fd79a;
          }
        }
        :root[data-theme=dark] {
          color-scheme: dark;
          --ground: #101418; --card: #181d23; --ink: #e7ebef; --soft: #9aa6b2; --line: #303842; --accent: #7fb4ff;
          --free: #3f8f59; --leased: #5b9dff; --ending: #b08cff; --recovering: #4fd0e0; --quarantined: #ff6a55; --draining: #f0b429; --unready: #454d56;
          --warn: #f0b429; --bad: #ff8a7a; --good: #7fd79a;
        }
        :root[data-theme=light] { color-scheme: light; }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
        header, main, footer { max-width: 84rem; margin: 0 auto; padding: 0 1rem; }
        header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; padding-top: 1rem; }
        h1 { font-size: 1.3rem; margin: 0; }
        h2 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
        h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
        h4 { font-size: .85rem; margin: 0 0 .2rem; color: var(--soft); font-weight: 600; }
        a { color: var(--accent); }
        :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
        .hidden, .skip:not(:focus) { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
        .skip:focus { position: absolute; left: 1rem; top: .3rem; background: var(--card); padding: .3rem .6rem; z-index: 1; }
        .badge { margin: 0; padding: .1rem .6rem; border: 1px solid var(--line); border-radius: 1rem; color: var(--soft); }
        .badge[data-state=live] { color: var(--good); border-color: currentColor; }
        .badge[data-state=away] { color: var(--bad); border-color: currentColor; }
        .sums { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; margin: 0; }
        .sums div { display: flex; gap: .4rem; align-items: baseline; }
        .sums dt { color: var(--soft); }
        .sums dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; font-size: 1.1rem; }
        .tools { margin-left: auto; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
        input, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .35rem; padding: .25rem .6rem; }
        button { cursor: pointer; }
        .processes, .legend { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: .5rem; }
        .processes li { background: var(--card); border: 1px solid var(--line); border-left: .35rem solid var(--good); border-radius: .35rem; padding: .35rem .7rem; }
        .processes li[data-up=false] { border-left-color: var(--bad); }
        .processes b { display: block; font-weight: 600; }
        .processes span { color: var(--soft); font-size: .85rem; font-variant-numeric: tabular-nums; }
        .processes li[data-up=false] span { color: var(--bad); }
        .legend { margin-top: 1rem; font-size: .85rem; gap: .3rem 1rem; }
        .legend i { display: inline-block; width: .9rem; height: .9rem; border-radius: .15rem; vertical-align: -.1rem; margin-right: .35rem; background: var(--colour); }
        .free { --colour: var(--free); } .leased { --colour: var(--leased); } .ending { --colour: var(--ending); } .recovering { --colour: var(--recovering); }
        .quarantined { --colour: var(--quarantined); } .draining { --colour: var(--draining); } .unready { --colour: var(--unready); }
        .pool { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem; margin: 0 0 .8rem; }
        .head { display: flex; flex-wrap: wrap; gap: .2rem 1rem; align-items: baseline; }
        .head p { margin: 0; color: var(--soft); font-variant-numeric: tabular-nums; }
        .head .note { color: var(--warn); font-weight: 600; }
        .cells { display: block; width: 100%; margin: .6rem 0; }
        .columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .8rem 1.5rem; }
        .chart { width: 100%; height: 5.2rem; display: block; }
        table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
        th, td { text-align: left; padding: .15rem .6rem .15rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
        th { color: var(--soft); font-weight: 600; font-size: .85rem; }
        td.number, th.number { text-align: right; }
        details { margin-top: .5rem; } summary { color: var(--soft); cursor: pointer; font-size: .85rem; }
        .scroll { max-height: 24rem; overflow: auto; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 0 .8rem; }
        .events thead th { position: sticky; top: 0; background: var(--card); }
        .events td:nth-child(-n+3) { white-space: nowrap; }
        .events small { color: var(--soft); overflow-wrap: anywhere; }
        .events tr[data-level=warning] td:nth-child(3) { color: var(--warn); font-weight: 600; }
        .events tr[data-level=error] td:nth-child(3), .events tr[data-level=critical] td:nth-child(3) { color: var(--bad); font-weight: 600; }
        footer { color: var(--soft); font-size: .85rem; padding-bottom: 2rem; }
        kbd { border: 1px solid var(--line); border-radius: .2rem; padding: 0 .3rem; font: inherit; }
        @media (forced-colors: active) { .legend i { forced-color-adjust: none; } }

        """#
}
