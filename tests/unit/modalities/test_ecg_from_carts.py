"""What carts export as XML or SCP-ECG is read as it was recorded, or refused in one sentence that tells no header."""

import re
import struct
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from ecg_loading import loaded

from pacx.core.errors import DataError
from pacx.core.vocabulary import ECG_LEADS
from pacx.modalities.ecg_signal.doubts import Doubt, examined
from pacx.modalities.ecg_signal.ecg_file import open_ecg
from pacx.modalities.ecg_signal.facts import NO_FACTS, EcgFacts, EcgUnit, UnusableError
from pacx.modalities.ecg_signal.readers import open_recordings
from pacx.modalities.ecg_signal.record import WHOLE, EcgRecord, Window
from pacx.modalities.ecg_signal.xml_document import XmlBounds, read_xml, root_of
from pacx.simulation.signals.ecg_files.writer import Tracing, ecg_writers

STARTED = datetime(2021, 3, 4, 5, 6, 7)
XML = ("muse-xml", "philips-xml", "philips-xml-plain", "hl7-aecg")
ALL = (*XML, "scp-ecg")
TIMES = '<component>\\s*<sequence>\\s*<code code="TIME_ABSOLUTE".*?</component>'


@pytest.fixture(scope="module")
def tracing() -> Tracing:
    random = np.random.default_rng(3)
    recorded = np.cumsum(random.normal(0, 0.02, (8, 1300)), axis=1)
    recorded[3, 40:42] = [14.0, -13.0]  # a pacing spike
    one, two = recorded[:2]
    limbs = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    signals = np.concatenate([limbs, recorded[2:]]).astype(np.float32)
    return Tracing(patient_id="Mustermann-77", millivolts=signals, rate_hz=500, started=STARTED)


@pytest.fixture
def export(tmp_path, tracing) -> Callable[[str], Path]:
    return lambda name: tmp_path / ecg_writers()[name].write(tmp_path, [("one", tracing)])["one"]


def read(path: Path, window: Window = WHOLE, facts: EcgFacts = NO_FACTS) -> EcgRecord:
    with open_ecg(path, facts) as file:
        return file.read(window=window)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-16" if path.read_bytes()[:2] == b"\xff\xfe" else "utf-8")


def changed(path: Path, *changes: tuple[str, str], count: int = 0) -> Path:
    """The document with patterns replaced, saved as UTF-8 whatever it says of itself."""
    text = text_of(path)
    for pattern, new in changes:
        text, number = re.subn(pattern, new, text, count=count, flags=re.DOTALL)
        assert number, pattern
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ALL)
def test_an_export_is_read_within_half_a_step(name, export, tracing):
    record, step_mv = read(export(name)), ecg_writers()[name].step_mv
    derived = ("III", "aVR", "aVL", "aVF") if name == "muse-xml" else ()
    assert (record.rate_hz, record.start, record.patient_id) == (500, STARTED, "Mustermann-77")
    assert record.derived == derived
    assert not record.notes
    off = dict(zip(ECG_LEADS, np.abs(record.twelve() - tracing.millivolts).max(axis=1) / step_mv, strict=True))
    rounding = {"III": 1.0, "aVR": 0.5, "aVL": 0.75, "aVF": 0.75}  # of a computed lead: that of I and II
    assert all(off[lead] <= (rounding[lead] if lead in derived else 0.5) * (1 + 1e-4) for lead in ECG_LEADS), off
    assert record.resolution_mv[:2] == pytest.approx((step_mv, step_mv))


@pytest.mark.parametrize("name", ALL)
def test_samples_at_the_ends_of_16_bits_come_back(name, tracing, tmp_path):
    writer, random = ecg_writers()[name], np.random.default_rng(5)
    wild = replace(tracing, millivolts=random.uniform(-200, 200, (12, 400)).astype(np.float32))
    record = read(tmp_path / writer.write(tmp_path, [("one", wild)])["one"])
    stored = {lead: counts * writer.step_mv for lead, counts in wild.counts(writer.step_mv).items()}
    for lead, samples in zip(record.leads, record.signals, strict=True):
        if lead not in record.derived:
            np.testing.assert_allclose(samples, stored[lead], atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_a_stretch_is_that_part_of_the_whole(name, export):
    path = export(name)
    whole, stretch = read(path), read(path, Window(250, 600))
    assert np.array_equal(stretch.signals, whole.signals[:, 250:850])
    assert (stretch.start, stretch.num_stored) == (STARTED + timedelta(seconds=0.5), 1300)


@pytest.mark.parametrize("name", ALL)
def test_the_content_tells_the_format_whatever_the_name(name, export, tmp_path):
    path = export(name)
    expected = read(path)
    assert np.array_equal(read(path.rename(tmp_path / "one.bin")).signals, expected.signals)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_the_outermost_element_is_found_in_any_encoding(encoding):
    text = "<?xml version='1.0'?>\n<!-- no <RestingECG> yet -->\n<!DOCTYPE a SYSTEM 'x'>\n<hl7:AnnotatedECG a='b'/>"
    assert root_of(text.encode(encoding)) == "AnnotatedECG"


@pytest.mark.parametrize(
    "head", [b"", b"\xff\xfe", b"plain text <RestingECG>", b"\x89PNG\r\n<RestingECG>", b"<!-- <a>"]
)
def test_what_is_no_document_has_no_outermost_element(head):
    assert root_of(head) == ""


@pytest.mark.parametrize("name", XML)
@pytest.mark.parametrize("said", ["UTF-16", "UTF-8", "ISO-8859-1"])
@pytest.mark.parametrize("saved_as", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_knows_better_than_the_document(name, said, saved_as, export):
    path = export(name)
    expected = read(path)
    text = re.sub(r'(<\?xml[^>]*encoding=)"[^"]*"', rf'\1"{said}"', text_of(path))
    path.write_text(text.replace("Simulated", "Müller"), encoding=saved_as)
    assert np.array_equal(read(path).signals, expected.signals)


def test_letters_of_another_encoding_are_told_from_a_document_cut_off(export):
    path = export("hl7-aecg")
    path.write_bytes(text_of(path).replace("<id ", "<title>Müller</title><id ", 1).encode("latin-1"))
    with pytest.raises(DataError, match="letters that are not of its encoding; save it again as UTF-8"):
        read(path)


def test_compressed_limb_leads_are_rebuilt_under_every_spelling_and_refused_in_an_unknown_order(export):
    path = export("philips-xml")
    expected = read(path)
    changed(path, ('leadlabels="[^"]*"', f'leadlabels="{" ".join(lead.upper() for lead in ECG_LEADS)}"'))
    assert np.array_equal(read(path).twelve(), expected.twelve())
    for order in ((*ECG_LEADS[6:], *ECG_LEADS[:6]), ("II", "I", *ECG_LEADS[2:]), (*ECG_LEADS[:5], "V1", "aVF")):
        changed(path, ('leadlabels="[^"]*"', f'leadlabels="{" ".join(order)}"'))
        with pytest.raises(DataError, match="limb leads in another order than is known; export it without"):
            read(path)


@pytest.mark.parametrize(
    ("increment", "rate_hz"),
    [
        (0.002, 500),
        (0.003333, 300),
        (0.00278, 360),
        (0.00390625, 256),
        (0.00195, 1 / 0.00195),
        (0.003, 1 / 0.003),
        (0.0015, 1 / 0.0015),
        (0.00102354, 977),
    ],
)
def test_an_annotated_ecg_has_a_usual_rate_or_the_one_it_says(increment, rate_hz, export):
    path = changed(export("hl7-aecg"), ('increment value="[^"]*"', f'increment value="{increment}"'))
    assert read(path).rate_hz == rate_hz


def test_a_philips_file_of_version_1_03_is_read_like_one_of_1_04(export):
    path = export("philips-xml")
    expected = read(path).signals
    changed(
        path,
        (">1.04<", ">1.03<"),
        (' compression="XLI"', ' compressflag="True" compressmethod="XLI"'),
        (' (?:numberofleads|leadlabels|samplespersecond|resolution|signal\\w+)="[^"]*"', ""),
        ("(</?)resolution>", r"\1signalresolution>"),
    )
    assert np.array_equal(read(path).signals, expected)


def test_plain_philips_samples_may_be_digits_around_an_offset(export, tracing):
    path = export("philips-xml-plain")
    expected = read(path).signals
    digits = " ".join(str(count + 100) for lead in tracing.counts(0.005).values() for count in lead.tolist())
    changed(
        path,
        ('dataencoding="Base64"( numberofleads)', r'dataencoding="Plain"\1'),
        (r"(<parsedwaveforms[^>]*)signaloffset=\"0\"([^>]*>)[^<]*", rf'\1signaloffset="100"\g<2>{digits}'),
    )
    np.testing.assert_allclose(read(path).signals, expected, atol=1e-12)


def test_annotated_ecgs_in_other_units_sets_and_times_are_the_same(export):
    path = export("hl7-aecg")
    expected = read(path).signals
    changed(
        path,
        ('<origin value="0" unit="uV"', '<origin value="-0.5" unit="mV"'),
        ('<scale value="2.5" unit="uV"', '<scale value="2500" unit="nV"'),
        ('<increment value="0.002" unit="s"', '<increment value="2" unit="ms"'),
        ('20210304050607(?=" ?/>)', "20210304050607.250+0200"),
    )
    record = read(path)
    np.testing.assert_allclose(record.signals, expected - 0.5, atol=1e-9)
    assert record.start == datetime(2021, 3, 4, 5, 6, 7, 250_000, timezone(timedelta(hours=2)))
    # the chest leads in a set of their own, at the same times
    times = re.search(TIMES, text_of(path), re.DOTALL)
    begin = "</sequenceSet></component><component><sequenceSet>" + times[0]
    changed(path, ('(<component>\\s*<sequence>\\s*<code code="MDC_ECG_LEAD_V1")', begin + r"\1"), count=1)
    np.testing.assert_allclose(read(path).signals, expected - 0.5, atol=1e-9)


def test_leads_of_an_annotated_ecg_at_other_times_are_passed_over(export):
    path = export("hl7-aecg")
    times = re.search(TIMES, text_of(path), re.DOTALL)
    later = times[0].replace("20210304050607", "20210304050609")
    begin = f"</sequenceSet></component><component><sequenceSet>{later}"
    changed(path, ('(<component>\\s*<sequence>\\s*<code code="MDC_ECG_LEAD_V5")', begin + r"\1"), count=1)
    record = read(path)
    assert record.leads == ECG_LEADS[:10]
    assert record.notes == ("2 leads recorded at other times are passed over",)


def test_the_rhythm_counts_wherever_it_stands(export):
    path = export("muse-xml")
    expected = read(path).signals
    median, rhythm = re.findall("<Waveform>.*?</Waveform>", text_of(path), re.DOTALL)
    path.write_text(text_of(path).replace(median, "").replace(rhythm, rhythm + median))
    assert np.array_equal(read(path).signals, expected)
    path.write_text(text_of(path).replace(median, rhythm))
    assert read(path).notes == ("of several rhythms the first is taken",)


def test_a_lead_that_the_cart_reports_off_is_counted_among_what_is_strange(export):
    path = export("muse-xml")
    assert read(path).questioned == ()
    record = read(changed(path, (r"(<LeadID>V2</LeadID>(?:(?!LeadData).)*<LeadOff>)FALSE", r"\1true")))
    assert record.questioned == ("V2",)
    assert record.notes == ("the cart reports an electrode that was off",)
    assert Doubt.QUESTIONED in examined(record, 2.0).doubts
    assert Doubt.QUESTIONED not in examined(record, 2.0, ("I", "II")).doubts


def test_muse_leads_that_are_stored_are_not_computed(export, tracing):
    path = export("muse-xml")
    lead = re.findall("<LeadData>.*?</LeadData>", text_of(path), re.DOTALL)[-1]  # V6 of the rhythm
    others = [lead.replace("<LeadID>V6", f"<LeadID>{name}") for name in ("III", "aVR", "aVL", "aVF", "V3R")]
    path.write_text(text_of(path).replace(lead, lead + "".join(others)))
    record = read(path)
    assert not record.derived
    assert record.leads[-5:] == ("III", "aVR", "aVL", "aVF", "V3R")
    assert np.array_equal(record.twelve()[2], record.twelve()[11])


@pytest.mark.parametrize(("unit", "millivolts"), [("MILLIVOLTS", 1.0), ("NANOVOLTS", 1e-6), ("uV", 1e-3)])
def test_muse_units_are_heeded(unit, millivolts, export):
    path = export("muse-xml")
    expected = read(path).signals * millivolts / 1e-3
    np.testing.assert_allclose(read(changed(path, ("MICROVOLTS", unit))).signals, expected, rtol=1e-9)


def test_a_missing_unit_may_be_said(export):
    path = export("muse-xml")
    expected = read(path).signals
    changed(path, ("<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>", ""))
    np.testing.assert_allclose(read(path, facts=EcgFacts(unit=EcgUnit.MICROVOLT)).signals, expected)


# SCP-ECG, as others write it


def checked(content: bytes) -> bytes:
    return struct.pack("<H", crc_hqx(content, 0xFFFF)) + content


def scp(sections: dict[int, bytes]) -> bytes:
    bodies = {number: checked(struct.pack("<HI8x", number, 16 + len(data)) + data) for number, data in sections.items()}
    size = 16 + 10 * (1 + len(bodies))
    pointers, place = struct.pack("<HII", 0, size, 7), 7 + size
    for number, body in bodies.items():
        pointers += struct.pack("<HII", number, len(body), place)
        place += len(body)
    rest = checked(struct.pack("<HI8x", 0, size) + pointers) + b"".join(bodies.values())
    return checked(struct.pack("<I", 6 + len(rest)) + rest)


CODES = (1, 2, 61, 62, 63, 64, 3, 4, 5, 6, 7, 8)


def named(spans: list[tuple[int, int]], codes: Sequence[int] = CODES, flags: int = 4) -> bytes:
    return bytes([len(spans), flags]) + b"".join(
        struct.pack("<IIB", *span, code) for span, code in zip(spans, codes, strict=False)
    )


def coded(leads: list[bytes], order: int = 0, step_nv: int = 2500, bimodal: int = 0, interval_us: int = 2000) -> bytes:
    head = struct.pack("<HHBB", step_nv, interval_us, order, bimodal)
    return head + struct.pack(f"<{len(leads)}H", *map(len, leads)) + b"".join(leads)


def saved(tmp_path: Path, sections: dict[int, bytes]) -> Path:
    path = tmp_path / "one.scp"
    path.write_bytes(scp(sections))
    return path


COUNTS = np.random.default_rng(8).integers(-2000, 2000, (12, 90))


@pytest.mark.parametrize(
    ("interval_us", "rate_hz"),
    [
        (3333, 300), (1667, 600), (1666, 600), (2778, 360), (2777, 360), (3906, 256), (1953, 512), (977, 1024),
        (2000, 500), (4000, 250), (1000, 1000), (500, 2000), (125, 8000), (5000, 200),
        (1999, 1e6 / 1999), (3997, 1e6 / 3997), (3100, 1e6 / 3100), (65535, 1e6 / 65535),
    ],
)  # fmt: skip
def test_an_scp_interval_that_was_rounded_to_microseconds_is_that_of_a_whole_rate(interval_us, rate_hz, tmp_path):
    leads = [lead.astype("<i2").tobytes() for lead in COUNTS]
    record = read(saved(tmp_path, {3: named([(1, 90)] * 12), 6: coded(leads, interval_us=interval_us)}))
    assert record.rate_hz == rate_hz


@pytest.mark.parametrize("order", [0, 1, 2])
def test_scp_leads_without_codes_are_samples_or_differences(order, tmp_path):
    stored = [np.diff(lead, order) if order else lead for lead in COUNTS]
    heads = [[], [0], [0, 1]][order]
    leads = [
        np.concatenate([lead[heads], part]).astype("<i2").tobytes() for lead, part in zip(COUNTS, stored, strict=True)
    ]
    if order == 2:  # the second value is a sample, not a difference
        assert struct.unpack_from("<h", leads[0], 2)[0] == COUNTS[0, 1]
    record = read(saved(tmp_path, {3: named([(1, 90)] * 12), 6: coded(leads, order)}))
    np.testing.assert_allclose(record.twelve(), COUNTS * 2.5e-3, atol=1e-9)


def test_scp_tables_of_a_maker_may_switch_to_each_other(tmp_path):
    # Table 1: 0 -> 0, 10 -> table 2, 11 + 12 bits. Table 2: 0 -> 7, 1 -> table 1. Codes are stored last bit first.
    tables = [[(1, 1, 1, 0, 0), (2, 2, 0, 2, 0b01), (2, 14, 1, 5, 0b11)], [(1, 1, 1, 7, 0), (1, 1, 0, 1, 1)]]
    section = struct.pack("<H", 2)
    for codes in tables:
        section += struct.pack("<H", len(codes)) + b"".join(struct.pack("<BBBhI", *code) for code in codes)
    values = [0, 7, 7, 1000, -2000, 0]
    bits = "0" + "10" + "00" + "1" + f"11{1000 - 5:012b}" + f"11{-2000 - 5 & 0xFFF:012b}" + "0"
    lead = int(bits.ljust(48, "0"), 2).to_bytes(6, "big")
    record = read(saved(tmp_path, {2: section, 3: named([(1, 6)] * 12), 6: coded([lead] * 12)}))
    np.testing.assert_allclose(record.signals, np.tile(values, (12, 1)) * 2.5e-3, atol=1e-9)


def test_a_subtracted_reference_beat_is_added_again(tmp_path):
    beat = np.random.default_rng(1).integers(-500, 500, (12, 20))
    residual = COUNTS.copy()
    # fiducial is sample 8 of the beat; the first beat is cut on both sides, the second is of another kind
    for begin, center, end in ((12, 18, 25), (60, 67, 79)):
        first = center - 8 + 1
        residual[:, begin - 1 : end] -= 2 * beat[:, begin - first : end - first + 1]
    beats = [(0, 12, 18, 25), (1, 30, 38, 45), (0, 60, 67, 79)]
    sections = {
        3: named([(1, 90)] * 12, flags=5),
        4: struct.pack("<HHH", 40, 8, 3) + b"".join(struct.pack("<HIII", *each) for each in beats),
        5: coded([lead.astype("<i2").tobytes() for lead in beat], step_nv=5000),
        6: coded([lead.astype("<i2").tobytes() for lead in residual]),
    }
    np.testing.assert_allclose(read(saved(tmp_path, sections)).twelve(), COUNTS * 2.5e-3, atol=1e-9)
    del sections[5]
    with pytest.raises(DataError, match="lacks the reference beat"):
        read(saved(tmp_path, sections))


def test_scp_leads_recorded_one_after_another_have_gaps(tmp_path):
    spans = [(1, 30)] * 6 + [(31, 60)] * 6
    leads = [lead[:30].astype("<i2").tobytes() for lead in COUNTS]
    signals = read(saved(tmp_path, {3: named(spans), 6: coded(leads)})).twelve()
    assert np.isnan(signals[:6, 30:]).all()
    assert np.isnan(signals[6:, :30]).all()
    np.testing.assert_allclose(signals[6:, 30:], COUNTS[6:, :30] * 2.5e-3, atol=1e-9)


def test_an_scp_record_of_eight_leads_has_its_four_computed_and_one_of_fewer_has_not(tmp_path):
    eight = [0, 1, *range(6, 12)]
    codes = [CODES[row] for row in eight]
    leads = [COUNTS[row].astype("<i2").tobytes() for row in eight]
    spans = [(1, 90)] * 8
    record = read(saved(tmp_path, {3: named(spans, codes), 6: coded(leads)}))
    one, two = COUNTS[0] * 2.5e-3, COUNTS[1] * 2.5e-3
    expected = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    np.testing.assert_allclose(record.twelve()[:6], expected, atol=1e-9)
    np.testing.assert_allclose(record.twelve()[6:], COUNTS[6:] * 2.5e-3, atol=1e-9)
    assert record.derived == ("III", "aVR", "aVL", "aVF")
    seven = read(saved(tmp_path, {3: named(spans[1:], codes[1:]), 6: coded(leads[1:])}))
    assert (seven.derived, seven.leads) == ((), ("II", "V1", "V2", "V3", "V4", "V5", "V6"))


# What cannot be read


BAD_XML = {
    "cut-off base64": ("muse-xml", [(r"(<WaveFormData>)\s*\S{5}", r"\1")], "base64|number of samples"),
    "cut-off base64 of Philips": ("philips-xml-plain", [(r"(<parsedwaveforms[^>]*>)\s*\S{5}", r"\1")], "base64"),
    "half a sample": (
        "muse-xml",
        [("<Lead(Byte|Sample)CountTotal>[^<]*</Lead[a-zA-Z]*>", ""), (r"(<WaveFormData>\s*)\S{4}", r"\1")],
        "half a sample",
    ),
    "letters that are none": ("muse-xml", [(r"(<WaveFormData>\s*\S{8})", r"\1!!!!")], "damaged or cut off base64"),
    "damaged chunks": ("philips-xml", [(r"(<parsedwaveforms[^>]*>)\s*\S{8}", r"\1")], "compressed|more samples"),
    "fewer samples than said": ("muse-xml", [("(SampleCountTotal>)1300", r"\g<1>1301")], "another number of samples"),
    "fewer than the duration": ("philips-xml-plain", [('channel="2600"', 'channel="2700"')], "another number"),
    "fewer than the chunks": ("philips-xml", [('channel="2600"', 'channel="2700"')], "fewer samples than it says"),
    "leads of different lengths": ("hl7-aecg", [('(LEAD_V6".*?<digits>)-?[0-9]+ ', r"\1")], "different lengths"),
    "digits that are none": ("hl7-aecg", [("<digits>", "<digits>x ")], "no numbers"),
    "unknown leads": ("muse-xml", [("<LeadID>V6", "<LeadID>V66")], "not so V6"),
    "unknown leads of aECG": ("hl7-aecg", [("LEAD_V6", "LEAD_Q9")], "not so V6"),
    "no lead names": ("philips-xml", [('leadlabels="[^"]*"', ""), ("STD-12", "OTHER")], "name its leads"),
    "a median beat alone": ("muse-xml", [(">Rhythm<", ">Median<")], "no rhythm"),
    "a representative beat alone": ("hl7-aecg", [('"RHYTHM"', '"REPRESENTATIVE_BEAT"')], "no rhythm"),
    "no rhythm": ("philips-xml", [("<parsedwaveforms.*</parsedwaveforms>", "")], "no rhythm"),
    "no unit": ("muse-xml", [("<LeadAmplitudeUnits>[^<]*</LeadAmplitudeUnits>", "")], "unit; give --unit"),
    "no unit of aECG": ("hl7-aecg", [('(<scale value="2.5") unit="uV"', r"\1")], "unit; give --unit"),
    "another unit": ("hl7-aecg", [('unit="uV"', 'unit="mmHg"')], "no voltage"),
    "another unit of MUSE": ("muse-xml", [("MICROVOLTS", "PASCAL")], "no voltage"),
    "no scale": ("philips-xml", [('resolution="5" signal', "signal"), (">5</res", "></res")], "resolution"),
    "no rate": ("muse-xml", [("<SampleBase>[^<]*</SampleBase>", "")], "its rate"),
    "no sample times": ("hl7-aecg", [("TIME_ABSOLUTE", "OTHER_TIMES")], "without sample times"),
    "times without a unit": ("hl7-aecg", [('(increment value="0.002") unit="s"', r"\1")], "unit of time"),
    "an empty series": ("hl7-aecg", [("<sequenceSet>.*?</sequenceSet>", "")], "empty rhythm"),
    "a rate of nothing": ("muse-xml", [("(SampleBase>)500", r"\g<1>0")], "rate that no ECG"),
    "no leads": ("muse-xml", [("<LeadData>.*?</LeadData>", "")], "holds no samples"),
    "an offset nobody explains": ("muse-xml", [("(SampleBaseline>)0", r"\g<1>3")], "not published"),
    "leads at other times": ("muse-xml", [("(LeadTimeOffset>)0(?=(?:(?!LeadData).)*V6)", r"\g<1>9")], "same time"),
    "another way of compressing": ("philips-xml", [('"XLI"', '"GZ"')], "way that is not known"),
    "an absurd length": ("philips-xml", [('channel="2600"', 'channel="1e12"')], "says a length"),
    "leads without end": ("philips-xml", [("numberofleads.*?I ", 'leadlabels="' + "I " * 20_000)], "a length"),
    "an entity": ("muse-xml", [('SYSTEM "restecg.dtd"', '[<!ENTITY b "c">]')], "entity"),
    "half a document": ("hl7-aecg", [("<derivation>.*", "")], "no whole XML"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_XML)
def test_an_export_at_fault_is_refused_in_one_sentence(name, export):
    written, changes, reason = BAD_XML[name]
    path = changed(export(written), *changes)
    with pytest.raises(DataError, match=reason) as caught:
        try:
            read(path).twelve()
        except UnusableError as error:  # whoever needs the twelve puts the name before it
            raise DataError(f"{path} {error}") from error
    message = str(caught.value).removeprefix(str(path))
    assert not re.search(r"Mustermann|Simulated|restecg|\. |\n", message), message


def scp_without_section(number: int) -> Callable[[bytes], bytes]:
    """The table of sections points nowhere for one of them, and the record's checksum is right again."""

    def change(data: bytes) -> bytes:
        place = 22 + 10 * number
        return checked(data[2:place] + struct.pack("<HII", number, 0, 0) + data[place + 10 :])

    return change


BAD_SCP = {
    "a changed byte": (lambda data: data.replace(b"SCPECG", b"SCPecg"), "has a wrong checksum"),
    "a changed section": (lambda data: checked(data[2:3000] + bytes([data[3000] ^ 1]) + data[3001:]), "section with"),
    "half of it": (lambda data: data[: len(data) // 2], "cut off"),
    "a few bytes": (lambda data: data[:40], "cut off"),
    "no rhythm": (scp_without_section(6), "no rhythm"),
    "no leads": (scp_without_section(3), "not name its leads"),
    "no tables of codes": (scp_without_section(2), "fewer samples"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_SCP)
def test_an_scp_record_at_fault_is_refused_in_one_sentence(name, export):
    change, reason = BAD_SCP[name]
    path = export("scp-ecg")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=reason) as caught:
        read(path)
    assert not re.search(r"Mustermann|\. |\n", str(caught.value).removeprefix(str(path)))


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({3: named([(1, 4)] * 12), 6: coded([bytes(8)] * 12, bimodal=1)}, "bimodal"),
        ({3: named([(1, 4)] * 12), 6: coded([bytes(6)] * 12)}, "fewer samples"),
        ({3: named([(1, 4)] * 12), 6: coded([bytes(8)] * 12, order=3)}, "how its samples were coded"),
        ({3: named([(1, 4)] * 12), 6: coded([bytes(8)] * 12, step_nv=0)}, "does not say its step"),
        ({3: named([(1, 2**32 - 1)] * 12), 6: coded([bytes(8)] * 12)}, "says a length"),
        ({3: named([(4, 1)] * 12), 6: coded([bytes(8)] * 12)}, "says a length"),
        ({3: bytes([255, 4]) + named([(1, 100_000)])[2:] * 255, 6: b"-"}, "says a length"),
        ({3: named([]), 6: coded([])}, "no ECG lead"),
        (
            {2: b"\1\0\2\0" + 2 * struct.pack("<BBBhI", 1, 1, 1, 0, 0), 3: named([(1, 4)]), 6: coded([b"a"])},
            "begin like",
        ),
        (
            {2: b"\1\0\1\0" + struct.pack("<BBBhI", 40, 40, 1, 0, 0), 3: named([(1, 4)]), 6: coded([b"a"])},
            "of a length",
        ),
        ({2: b"\1\0\1\0" + struct.pack("<BBBhI", 1, 1, 0, 9, 0), 3: named([(1, 4)]), 6: coded([b"a"])}, "lead nowhere"),
        ({2: b"\1\0\1\0" + struct.pack("<BBBhI", 1, 1, 1, 0, 1), 3: named([(1, 4)]), 6: coded([b"a"])}, "damaged"),
        ({2: b"\0\0", 3: named([(1, 4)]), 6: coded([b"a"])}, "lead nowhere"),
        ({2: b"\x1f\x4e", 3: named([(1, 600_000)]), 6: coded([b"a"])}, "fewer samples"),
    ],
)
def test_scp_sections_that_cannot_be_are_refused(sections, reason, tmp_path):
    with pytest.raises(DataError, match=reason):
        read(saved(tmp_path, sections))


def test_exports_at_fault_are_left_out_of_a_folder_by_their_reason(tmp_path, tracing):
    folder = tmp_path / "exports"
    ten_seconds = replace(tracing, millivolts=np.tile(tracing.millivolts, 4)[:, :5000])
    for name in ALL:
        ecg_writers()[name].write(folder, [(f"{which}/{name}-{which}", ten_seconds) for which in "ab"])
    changed(folder / "b/muse-xml-b.xml", ("<LeadAmplitudeUnits>[^<]*<", "<LeadAmplitudeUnits><"))
    damaged = folder / "b/scp-ecg-b.scp"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    recordings = loaded(open_recordings(folder))
    assert len(recordings.signals) == 8
    said = {each.sample_id: each.reason for each in recordings.quarantined}
    assert said.keys() == {"muse-xml-b", "scp-ecg-b"}
    assert "unit" in said["muse-xml-b"]
    assert "checksum" in said["scp-ecg-b"]


def test_a_file_larger_than_any_scp_record_is_not_read(export):
    path = export("scp-ecg")
    with path.open("r+b") as file:
        file.truncate(2**25 + 1)  # a hole that takes no room on the disk
    with pytest.raises(DataError, match="larger than any SCP-ECG record"):
        read(path)


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        (XmlBounds(num_elements=50), "more than 50 elements;"),
        (XmlBounds(depth=3), "more than 3 elements in each other"),
        (XmlBounds(num_attributes=1), "more than 1 attributes"),
        (XmlBounds(num_bytes=2**20 - 1), "of more than"),
    ],
)
def test_a_document_beyond_a_bound_is_refused(bounds, reason, tmp_path, export):
    path = export("muse-xml")
    path.write_text(text_of(path).replace("<RestingECG>", '<RestingECG a="1" b="2">') + "<!-- -->" * 2**17)
    assert read_xml(path).tag == "RestingECG"
    with pytest.raises(UnusableError, match=reason):
        read_xml(path, bounds)


def test_compressed_samples_beyond_what_is_said_are_not_unpacked(export, tracing, tmp_path):
    long = replace(tracing, millivolts=np.tile(tracing.millivolts, 4))
    path = tmp_path / ecg_writers()["philips-xml"].write(tmp_path, [("long", long)])["long"]
    with pytest.raises(DataError, match="more samples than it says"):
        read(changed(path, ('channel="10400"', 'channel="20"')))


@pytest.mark.parametrize("name", ALL)
def test_damage_anywhere_is_told_or_harmless(name, export):
    """Bytes are changed or cut off at random: there is a record or an error that people understand, never a crash."""
    path, random = export(name), np.random.default_rng(4)
    whole = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(bytes(damaged[: random.integers(1, len(whole))] if random.random() < 0.3 else damaged))
        with suppress(DataError):
            assert isinstance(read(path), EcgRecord)
