"""Hypothesis strategies: OIDs, varbinds and PDUs of every type."""

from __future__ import annotations

from hypothesis import strategies as st

from vmmib.agentx import pdu
from vmmib.agentx.pdu import ValueType

subids = st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1))
oids = st.one_of(
    st.lists(subids, max_size=8).map(tuple),
    st.lists(subids, max_size=123).map(lambda tail: (1, 3, 6, 1, 2, *tail)),
    st.lists(subids, max_size=3).map(lambda tail: (1, 3, 6, 1, *tail)),
)
octets = st.integers(0, 255)
numbers16 = st.integers(0, 2**16 - 1)
numbers32 = st.integers(0, 2**32 - 1)
contexts = st.one_of(st.just(""), st.text(max_size=8).filter(lambda text: text.isprintable()))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

VALUES = {
    ValueType.INTEGER: st.integers(-(2**31), 2**31 - 1),
    ValueType.OCTET_STRING: st.binary(max_size=40),
    ValueType.NULL: st.none(),
    ValueType.OBJECT_IDENTIFIER: oids,
    ValueType.IP_ADDRESS: st.binary(min_size=4, max_size=4),
    ValueType.COUNTER32: numbers32,
    ValueType.GAUGE32: numbers32,
    ValueType.TIME_TICKS: numbers32,
    ValueType.OPAQUE: st.binary(max_size=40),
    ValueType.COUNTER64: st.integers(0, 2**64 - 1),
    ValueType.NO_SUCH_OBJECT: st.none(),
    ValueType.NO_SUCH_INSTANCE: st.none(),
    ValueType.END_OF_MIB_VIEW: st.none(),
}
typed_values = st.sampled_from(list(ValueType)).flatmap(
    lambda kind: st.tuples(st.just(kind), VALUES[kind])
)
varbinds = st.builds(lambda oid, typed: pdu.VarBind(oid, *typed), oids, typed_values)
varbind_lists = st.lists(varbinds, max_size=4).map(tuple)
ranges = st.lists(st.builds(pdu.SearchRange, oids, oids, st.booleans()), max_size=4).map(tuple)

_header = {"session_id": numbers32, "transaction_id": numbers32, "packet_id": numbers32}
_context = {**_header, "context": contexts}


def _region(cls: type[pdu.Pdu], **more: st.SearchStrategy[object]) -> st.SearchStrategy[pdu.Pdu]:
    upper = st.one_of(
        st.just({"range_subid": 0, "upper_bound": 0}),
        st.fixed_dictionaries({"range_subid": st.integers(1, 128), "upper_bound": numbers32}),
    )
    fixed = st.fixed_dictionaries({**_context, "subtree": oids, "priority": octets, **more})
    return st.builds(lambda one, other: cls(**one, **other), fixed, upper)


reads: st.SearchStrategy[pdu.Pdu] = st.one_of(
    st.builds(pdu.Get, **_context, ranges=ranges),
    st.builds(pdu.GetNext, **_context, ranges=ranges),
    st.builds(
        pdu.GetBulk,
        **_context,
        non_repeaters=numbers16,
        max_repetitions=numbers16,
        ranges=ranges,
    ),
)
pdus: st.SearchStrategy[pdu.Pdu] = st.one_of(
    st.builds(pdu.Open, **_header, timeout=octets, agent_id=oids, description=texts),
    st.builds(pdu.Close, **_header, reason=octets),
    _region(pdu.Register, timeout=octets, instance=st.booleans()),
    _region(pdu.Unregister),
    reads,
    st.builds(pdu.TestSet, **_context, varbinds=varbind_lists),
    st.builds(pdu.CommitSet, **_header),
    st.builds(pdu.UndoSet, **_header),
    st.builds(pdu.CleanupSet, **_header),
    st.builds(pdu.Notify, **_context, varbinds=varbind_lists),
    st.builds(pdu.Ping, **_context),
    st.builds(
        pdu.IndexAllocate,
        **_context,
        varbinds=varbind_lists,
        new_index=st.booleans(),
        any_index=st.booleans(),
    ),
    st.builds(
        pdu.IndexDeallocate,
        **_context,
        varbinds=varbind_lists,
        new_index=st.booleans(),
        any_index=st.booleans(),
    ),
    st.builds(pdu.AddAgentCaps, **_context, oid=oids, description=texts),
    st.builds(pdu.RemoveAgentCaps, **_context, oid=oids),
    st.builds(
        pdu.Response,
        **_header,
        sys_up_time=numbers32,
        error=numbers16,
        index=numbers16,
        varbinds=varbind_lists,
    ),
)
