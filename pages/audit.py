"""Audit: whether record and reports are unchanged, what was done by whom, and who has which role."""

import pandas as pd
import streamlit as st

from crystalseg.errors import UserError
from crystalseg.record import ledger, people
from crystalseg.record.anchors import check
from crystalseg.record.audit import GOOD, audit, audited
from crystalseg.record.people import ROLES
from crystalseg.record.reports import issued
from crystalseg.ui import account, session, shared
from crystalseg.ui.plain import plain
from crystalseg.ui.telling import refuse, telling

SHOWN = 100  # entries per page


def problems_or(problems: list[str], good: str) -> None:
    """Show each problem, or that all is well."""
    for problem in problems:
        refuse(problem)
    if not problems:
        st.success(plain(good), icon=":material/check:")


def record() -> None:
    """Audit the chain and the stored files, either all or only what was added since the last audit."""
    st.subheader("The record")
    st.caption("Every entry holds the hash of the entry before it. The audit reads them and their files.")
    number, _ = ledger.end(shared.engine())
    since, do = audited(), ""
    if since is not None:
        new, when = max(0, number - since.number), since.when[:16].replace("T", " ")
        st.caption(f"The record was audited up to entry {since.number:,} at {when} UTC, without findings.")
    with st.container(horizontal=True):
        icon = ":material/policy:"
        if since is not None and st.button(f"Audit what is new ({new:,})", icon=icon, type="primary", disabled=not new):
            do = "new"
        if st.button(f"Audit all {number:,} entries", icon=icon, type="primary" if since is None else "secondary"):
            do = "all"
    if do:
        with st.spinner("Reading entries and files…", show_time=True):
            problems = list(audit(shared.engine(), since if do == "new" else None))
        problems_or(problems, f"{GOOD[:-1]} since entry {since.number:,}." if since and do == "new" else GOOD)


def report() -> None:
    """Check a report file."""
    st.subheader("A report")
    st.caption("Check that a file is exactly as issued, and that the record has not been rewritten since.")
    upload = st.file_uploader("PDF, HTML or Excel report", type=["pdf", "html", "xlsx"])
    if upload is None:
        return
    data = upload.getvalue()
    problems = list(check(shared.engine(), data))
    words = ""
    try:
        entry = issued(shared.engine(), data)
        runs = ", ".join(entry.body["runs"])
        words = f"This is the report of run {runs}, as issued {entry.created[:19].replace('T', ' ')} UTC."
    except UserError as error:
        problems.append(str(error))
    problems_or(problems, words)


def entries() -> None:
    """List what was done, newest first."""
    st.subheader("What was done")
    columns = st.columns((3, 3, 1))
    kinds = columns[0].multiselect("Kind", list(ledger.KINDS), format_func=ledger.KINDS.__getitem__)
    words = columns[1].text_input("Search", placeholder="run, name of a person …").strip()
    page = columns[2].number_input("Page", 1, None, 1)
    listed = ledger.latest(shared.engine(), kinds, words, SHOWN, SHOWN * (int(page) - 1))
    rows = [(e.number, e.created[:19].replace("T", " "), e.kind, e.who, about(e)) for e in listed]
    st.dataframe(pd.DataFrame(rows, columns=["entry", "when, UTC", "kind", "who", "about"]), hide_index=True)


def about(entry: ledger.Entry) -> str:
    """Return what an entry is about, in a few words."""
    body = entry.body
    if entry.kind in ("role", "sign-in"):
        return f"{body['person']}: {body['role'] or 'no role'}"
    more = {
        "report": lambda: f"{body['form']} of {', '.join(body['runs'])}",
        "failure": lambda: f"{body['name']}: {body['reason']}",
        "run": lambda: f"{entry.subject}: {body['image_name']}",
        "signature": lambda: f"{entry.subject}: {body['meaning']}",
        "correction": lambda: f"{entry.subject}: {body['entry']['kind']}",
        "validation": lambda: f"{body['method']} on {body['kind']}",
        "annotation": lambda: f"{entry.subject}: {body.get('name', 'taken away')}",
    }
    return more.get(entry.kind, lambda: entry.subject)()


def roles() -> None:
    """Show and set the roles of people."""
    st.subheader("People")
    if not account.is_configured():
        st.info(
            "Nobody signs in. Everybody who can reach this address may do everything, under any name. "
            "docs/deployment.md explains how to let a team in.",
            icon=":material/badge:",
        )
        return
    held = people.roles(shared.engine())
    st.dataframe(pd.DataFrame(list(held.items()), columns=["person", "role"]), hide_index=True)
    with st.form("role", clear_on_submit=True):
        left, right = st.columns(2)
        identity = left.text_input("E-mail address", help="As the sign-in provider states it.")
        role = right.selectbox("Role", [*ROLES, ""], format_func=lambda r: r or "none: removes the role")
        st.caption("A viewer sees History, an operator measures, and an approver signs and sets profiles.")
        given = st.form_submit_button("Give the role", type="primary", icon=":material/badge:")
    if given:
        with telling():
            people.give_role(shared.engine(), identity, role, session.who())
            st.rerun()


def page() -> None:
    session.enter("administrator")
    st.title("Audit")
    left, right = st.columns(2, gap="large")
    with left:
        record()
    with right:
        report()
    entries()
    roles()


page()
