/** The page's one style sheet: light and dark, wide and narrow; it asks nothing of anybody. */
export const pageStyle = `
:root{--ink:#1a2027;--soft:#5b6672;--line:#dfe4ea;--back:#f4f6f8;--card:#fff;--link:#0a5bb5;
--bad:#b3261e;--tint:#e8f0fa}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ed;--soft:#98a4b1;--line:#2c343d;--back:#11151a;
--card:#181e25;--link:#79b3ff;--bad:#ff8a80;--tint:#1f2a38}}
*{box-sizing:border-box}
body{margin:0;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back)}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
header{background:var(--card);border-bottom:1px solid var(--line)}
header>div,main{max-width:68rem;margin:0 auto;padding:.75rem 1.25rem}
header>div{display:flex;justify-content:space-between;align-items:center}
header a.home{display:flex;gap:.6rem;align-items:center;font-weight:600;color:var(--ink)}
header svg{width:1.5rem;height:1.5rem;fill:none;stroke:var(--link);stroke-width:2}
main{padding-bottom:3rem}
.path{color:var(--soft);margin:.75rem 0 0}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 1rem;overflow-wrap:anywhere}
h2{font-size:1rem;margin:0;padding:.8rem 1rem;border-bottom:1px solid var(--line)}
h2 span{color:var(--soft);font-weight:400}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;margin:0 0 1.25rem;
overflow:hidden}
.card>p{margin:0;padding:.8rem 1rem}
table{border-collapse:collapse;width:100%}
th{font-weight:500;color:var(--soft);font-size:.85rem}
th,td{text-align:left;padding:.55rem 1rem;border-bottom:1px solid var(--line);vertical-align:top}
tr:last-child>td{border-bottom:0}
.n .bar{margin-left:auto}
.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.t{white-space:nowrap}
code{font:.86em/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
small,.soft{color:var(--soft)}
pre{margin:0;padding:.8rem 1rem;background:var(--tint);overflow-x:auto;font:.86em/1.5 ui-monospace,monospace;
user-select:all}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:0;padding:.8rem 1rem}
dt{color:var(--soft)}dd{margin:0;min-width:0;overflow-wrap:anywhere}
.tag{display:inline-block;background:var(--tint);border-radius:99px;padding:0 .6rem;margin:0 .25rem .25rem 0;
font-size:.86rem}
.bar{display:block;height:3px;margin-top:.3rem;border-radius:2px;width:7rem;fill:var(--link);background:var(--line)}
details summary{cursor:pointer;padding:.8rem 1rem;color:var(--bad)}
details form{padding:0 1rem 1rem;display:flex;gap:1rem;align-items:center;flex-wrap:wrap}
button{font:inherit;color:#fff;background:#b3261e;border:0;border-radius:6px;padding:.4rem .9rem;cursor:pointer}
@media(max-width:40rem){
thead{display:none}
tr{display:block;padding:.55rem 0;border-bottom:1px solid var(--line)}
tr:last-child{border-bottom:0}
td{display:flex;gap:.75rem;border:0;padding:.12rem 1rem;text-align:left}
td[data-of]::before{content:attr(data-of);color:var(--soft);flex:0 0 5.5rem}
td>*{min-width:0}
.n{text-align:left}.n .bar{margin-left:0}
dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}}
`;
