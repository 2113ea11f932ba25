"""Devices by their data sheets: peak 16-bit arithmetic without sparsity, and memory bandwidth.

The data-centre rows were checked against the files of aiconfigurator-core. The others, from the RTX 4090 on, were
checked in November 2026 against `source`, which is rarely the maker's own sheet. For the two NPUs no 16-bit rate was
found, and half of the 8-bit rate is assumed. Apple publishes 32-bit rates; on an M1, 16-bit arithmetic was measured to
be no faster (philipturner/metal-benchmarks).
"""

from dataclasses import dataclass

from goodspeed.registry import Registry


@dataclass(frozen=True, slots=True)
class Device:
    """A spec sheet. `bytes_per_s` is the bandwidth of the memory that holds the weights."""

    flops: float  # per second, 16-bit, dense
    bytes_per_s: float
    link_bytes_per_s: float  # to neighbouring devices, one direction; 0: no link
    source: str


DEVICES: Registry[Device] = Registry(
    "device",
    {
        "b200_sxm": Device(2250e12, 7.7e12, 900e9, "aiconfigurator-core 0.12.0"),
        "h200_sxm": Device(989e12, 4.8e12, 450e9, "NVIDIA H200 data sheet"),
        "h100_sxm": Device(989e12, 3.35e12, 450e9, "NVIDIA H100 data sheet"),
        "a100_sxm": Device(312e12, 2.039e12, 300e9, "NVIDIA A100 80GB data sheet"),
        "l40s": Device(362.05e12, 864e9, 32e9, "NVIDIA L40S data sheet"),
        "l4": Device(121e12, 300e9, 32e9, "NVIDIA L4 data sheet"),
        "rtx_pro_6000_server": Device(467.8e12, 1.792e12, 64e9, "aiconfigurator-core 0.12.0, at the observed 2430 MHz"),
        "rtx_4090": Device(
            165.2e12, 1.008e12, 32e9, "waredb.com; 165.6 TFLOPS measured by JustAResearcher/gpu-unlock-ada"
        ),
        "orin_nano_8gb": Device(
            10e12,
            68e9,
            0.0,
            "NVIDIA Jetson Orin Nano data sheet: 10 dense INT8 TOPS of the 4 GB model, twice the cores, 16 bit at half "
            "the rate; brojogopalsapui.com (bandwidth, at the first firmware's clocks)",
        ),
        "apple_m1": Device(2.6e12, 68.25e9, 0.0, "macrumors.com, 10 November 2020; bofads.com (bandwidth, LPDDR4X)"),
        "apple_m2": Device(3.6e12, 100e9, 0.0, "askgeek.io (3.578 TFLOPS); macrumors.com, 6 June 2022 (bandwidth)"),
        "apple_m1_max": Device(10.4e12, 400e9, 0.0, "italy24news.com; Apple, 18 October 2021 (bandwidth)"),
        "apple_m1_ultra": Device(21e12, 800e9, 0.0, "cpu-monkey.com (21.2 TFLOPS); notebookcheck.net (bandwidth)"),
        "snapdragon_x_elite_npu": Device(
            22.5e12, 135e9, 0.0, "notebookcheck.net: 45 TOPS, LPDDR5X-8448; mspoweruser.com: 8 channels of 16 bit"
        ),
        "phone_npu": Device(
            17.5e12,
            51.2e9,
            0.0,
            "Apple A17 Pro, downcodes.com: 35 TOPS, assumed to be of 8 bit; no source found for 64 bit of LPDDR5-6400",
        ),
        "raspberry_pi_5": Device(
            307e9,
            17.1e9,
            0.0,
            "circuitdigest.com: 4 Cortex-A76 at 2.4 GHz, 32 bit of LPDDR4X-4267; no source found for 2 FMAs of 128 bit "
            "a cycle",
        ),
    },
)
