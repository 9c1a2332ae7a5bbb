import Swiftlet

/// The frame, style and pieces that the pages of reports share. Pages are well-formed XML and need nothing else.
enum HTMLPage {
  /// - Parameters:
  ///   - title: plain text.
  ///   - body: HTML.
  static func page(title: String, _ body: String) -> String {
    """
    <!DOCTYPE html>
    <html lang="en"><head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
    <title>\(SVGPlot.escape(title))</title><style>\(style)</style></head><body><main>
    \(body)
    </main></body></html>

    """
  }

  /// Boxes of a title, a figure and a remark, each HTML.
  static func tiles(_ tiles: [(String, String, String)]) -> String {
    "<div class='tiles'>"
      + tiles.map { "<div class='tile'><span>\($0.0)</span><b>\($0.1)</b><small>\($0.2)</small></div>" }.joined()
      + "</div>"
  }

  /// Cells are HTML; the first `leftAligned` columns are aligned left, the others right.
  static func table(_ titles: [String], _ rows: [[String]], leftAligned: Int) -> String {
    func cells(_ row: [String], _ tag: String) -> String {
      row.enumerated().map { "<\(tag)\($0 < leftAligned ? " class='l'" : "")>\($1)</\(tag)>" }.joined()
    }
    return "<div class='scroll'><table><thead><tr>" + cells(titles, "th") + "</tr></thead><tbody>"
      + rows.map { "<tr>" + cells($0, "td") + "</tr>" }.joined(separator: "\n") + "</tbody></table></div>"
  }

  static let style = """
    :root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f27;--soft:#667085;--line:#e4e7ec;
    --a:#2f6fde;--b:#d9682b;--c:#b4bcc9;--range:rgba(47,111,222,.11)}
    @media(prefers-color-scheme:dark){:root{--page:#12151b;--card:#1a1f27;--ink:#e8eaee;--soft:#98a2b3;--line:#2c333e;
    --a:#6ea2ff;--b:#f0935b;--c:#5a6575;--range:rgba(110,162,255,.15)}}
    *{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
    font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
    main{max-width:1060px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0;letter-spacing:-.01em}
    h2{font-size:18px;margin:0 0 4px}h3{font-size:15px;margin:0}h3 small{color:var(--soft);font-weight:400}
    .sub,.legend{color:var(--soft);margin:0 0 12px;font-size:13.5px;overflow-wrap:anywhere}
    section,article,.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px}
    section{margin-top:18px}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;
    margin-top:20px}.tile span,.tile small{display:block;color:var(--soft);font-size:13px;overflow-wrap:anywhere}
    .tile b{font-size:24px;font-weight:650;font-variant-numeric:tabular-nums}
    .note{background:var(--card);border-left:3px solid var(--b);padding:10px 14px;margin:18px 0 0;overflow-wrap:anywhere}
    .legend i{display:inline-block;width:11px;height:11px;border-radius:3px;margin:0 6px 0 12px}
    .legend i:first-child{margin-left:0}i.a{background:var(--a)}i.b{background:var(--b)}i.c{background:var(--c)}
    svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}
    .grid,.axis{stroke:var(--line);fill:none}.line{fill:none;stroke-width:1.6;opacity:.55}
    .a{fill:var(--a)}.b{fill:var(--b)}.c{fill:var(--c)}.a .line{stroke:var(--a);fill:none}
    .b .line{stroke:var(--b);fill:none}.range{fill:var(--range)}.edge{stroke:var(--a);stroke-width:1.5}
    .dashed{stroke-dasharray:3 3;opacity:.8}.bars{fill:var(--soft)}
    .scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
    th,td{text-align:right;padding:5px 10px;border-bottom:1px solid var(--line);white-space:nowrap}
    th{color:var(--soft);font-weight:500}.l{text-align:left}
    tr:last-child td{border-bottom:0}a{color:var(--a);text-decoration:none}a:hover{text-decoration:underline}
    .cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:14px}
    .cards article{padding:14px 16px;background:var(--page)}figure{margin:0}
    figcaption{font-size:12.5px;color:var(--soft);margin-top:6px}
    .flame rect{stroke:var(--card);stroke-width:.6}.flame rect:hover{opacity:.75}.flame text{fill:#fff;font-size:10.5px;
    pointer-events:none}.whole{fill:var(--soft)}.median{stroke:var(--b);stroke-width:1.5}svg .name{fill:var(--ink)}
    """
}
